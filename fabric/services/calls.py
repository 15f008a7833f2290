"""What a client decides of its requests: whom to ask, when to ask another, when to give up. Pure.

A call is sent to one instance. When that leaves, says `Busy`, or is silent for a *slice* of the time until the
deadline, the call goes to another, or to the same one again when there is no other. So an instance may be asked more
than once, always under the same key: it does the work once. Two instances that are both asked may both do it, unless
the service keeps its keys where all its instances see them.

Inputs are method calls, with the time; decisions come back as effects: `Send` and `Failed`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from fabric.errors import Busy, FabricError, RequestTimeout, expected
from fabric.services.directory import Directory, Instance, weight

ATTEMPTS = 4
MIN_SLICE_S = 0.05
UNSENT_RETRY_S = 0.02


@dataclass(frozen=True)
class Send:
    """Send this call's request to this instance."""

    call: int
    instance: Instance


@dataclass(frozen=True)
class Failed:
    """The call is over."""

    call: int
    error: FabricError


Effect = Send | Failed


@dataclass
class _Call:
    """An open call. Times are monotonic."""

    id: int
    service: str
    affinity: str | None
    started: float
    deadline: float
    slice_s: float
    """How long one instance is waited for."""
    at: str | None = None
    """The instance that is asked at present."""
    due: float = 0.0
    """When something is to be decided for it; earlier entries of `Calls._due` are void."""
    asked: dict[str, int] = field(default_factory=dict)
    """How often each instance was asked, by id."""
    busy: dict[str, Busy] = field(default_factory=dict)
    """Instances that said Busy, by id; they are not asked again."""


class Calls:
    """The open calls of one client.

    attempts: into so many slices the time until a deadline is cut
    """

    def __init__(self, directory: Directory, *, attempts: int = ATTEMPTS) -> None:
        if attempts < 1:
            raise ValueError(expected("attempts", attempts, "at least 1"))
        self._directory, self._attempts = directory, attempts
        self._calls: dict[int, _Call] = {}
        """Open calls by id."""
        self._due: list[tuple[float, int]] = []
        """A heap of (when, call); an entry counts only if the call is open and due then."""
        self._outstanding: dict[str, int] = {}
        """How many open calls are `at` each instance, by id; never 0."""
        self.is_open = False
        """Whether answers can arrive; until then nothing is sent."""
        self.retries = 0
        """Times a call was sent beyond its first, since the start."""

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, ident: int, service: str, affinity: str | None, now: float, deadline: float) -> list[Effect]:
        """A new call. `affinity`: calls of the same one go to the same instance, while it is there."""
        slice_s = max((deadline - now) / self._attempts, MIN_SLICE_S)
        call = self._calls[ident] = _Call(ident, service, affinity, now, deadline, slice_s)
        return self._send(call, now)

    def inbox_acked(self, now: float) -> list[Effect]:
        """The inbox is acknowledged: what waited for it goes out."""
        self.is_open = True
        return [effect for call in list(self._calls.values()) for effect in self._send(call, now)]

    def send_failed(self, ident: int, now: float) -> None:
        """A `Send` could not be handed to the fabric: it is tried again soon."""
        call = self._calls.get(ident)
        if call is not None and call.at is not None:
            call.asked[call.at] -= 1
            self._leave(call)
            self._wake_at(call, now + UNSENT_RETRY_S)

    def call_ended(self, ident: int) -> bool:
        """The call was answered, or nobody waits for it any more. False when it was over before."""
        call = self._calls.pop(ident, None)
        if call is None:
            return False
        self._leave(call)
        return True

    def instance_busy(self, ident: int, instance: str, error: Busy, now: float) -> list[Effect]:
        """An instance was too busy: another is asked; when all are, the call is over."""
        call = self._calls.get(ident)
        if call is None:
            return []
        call.busy[instance] = error
        if call.at != instance:
            return []
        self._leave(call)
        return self._send(call, now)

    def instance_appeared(self, instance: Instance, now: float) -> list[Effect]:
        """An instance is there, or serves again: calls that wait for one have it. Cost: O(open calls)."""
        waiting = [c for c in self._calls.values() if c.at is None and c.service == instance.service]
        return [effect for call in waiting for effect in self._send(call, now)]

    def instance_left(self, instance: Instance, now: float) -> list[Effect]:
        """An instance is gone: who waits for its answer asks another. Cost: O(open calls)."""
        self._outstanding.pop(instance.id, None)
        bereft = [call for call in self._calls.values() if call.at == instance.id]
        for call in bereft:
            call.at = None
        return [effect for call in bereft for effect in self._send(call, now)]

    def mesh_reached_again(self) -> list[Effect]:
        """The mesh, or a part of it, is reached again: answers may have been lost. Who was asked is asked once more.

        By the key that is done no second time. Cost: O(open calls).
        """
        effects: list[Effect] = []
        for call in self._calls.values():
            at = self._directory.get(call.service, call.at) if call.at is not None else None
            if at is not None:
                self.retries += 1
                effects.append(Send(call.id, at))
        return effects

    def tick(self, now: float) -> list[Effect]:
        """What time demands: deadlines, and slices that have passed."""
        effects: list[Effect] = []
        while self._due and self._due[0][0] <= now:
            due, ident = heapq.heappop(self._due)
            call = self._calls.get(ident)
            if call is None or call.due != due:
                continue  # it is over, or was given a later time
            if call.at is not None and now < call.deadline:
                self._directory.suspect(call.service, call.at)
                self._leave(call)
            effects += self._send(call, now)
        return effects

    def waiting_services(self) -> set[str]:
        """Services of which a call needs an instance and has none. Cost: O(open calls)."""
        return {call.service for call in self._calls.values() if call.at is None} if self.is_open else set()

    # ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, call: _Call, now: float) -> list[Effect]:
        if now >= call.deadline:
            return self._fail(call, RequestTimeout(self._why(call, now)))
        self._wake_at(call, call.deadline)
        if not self.is_open:
            return []
        instance = self._choose(call)
        if instance is None:
            if not call.busy:
                return []
            return self._fail(call, min(call.busy.values(), key=lambda error: error.retry_after_s))
        if call.asked.get(instance.id) or any(call.asked.values()):
            self.retries += 1
        call.at = instance.id
        call.asked[instance.id] = call.asked.get(instance.id, 0) + 1
        self._outstanding[instance.id] = self._outstanding.get(instance.id, 0) + 1
        self._wake_at(call, min(now + call.slice_s, call.deadline))
        return [Send(call.id, instance)]

    def _choose(self, call: _Call) -> Instance | None:
        """Whom to ask: of those asked least often, one not suspected; then by affinity, or by load."""
        directory = self._directory
        candidates = [
            each
            for each in directory.live(call.service)
            if each.state == "serving" and each.inbox and each.id not in call.busy
        ]
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        key = call.affinity if call.affinity is not None else str(call.id)

        def rank(each: Instance) -> tuple[int, bool, int, float, int]:
            asked = call.asked.get(each.id, 0)
            own, load = (0, 0.0) if call.affinity is not None else (self._outstanding.get(each.id, 0), each.load)
            return asked, directory.is_suspect(each), own, load, -weight(key, each.id)

        return min(candidates, key=rank)

    def _fail(self, call: _Call, error: FabricError) -> list[Effect]:
        self.call_ended(call.id)
        return [Failed(call.id, error)]

    def _leave(self, call: _Call) -> None:
        if call.at is not None and call.at in self._outstanding:
            self._outstanding[call.at] -= 1
            if not self._outstanding[call.at]:
                del self._outstanding[call.at]
        call.at = None

    def _wake_at(self, call: _Call, due: float) -> None:
        if call.due != due:
            call.due = due
            heapq.heappush(self._due, (due, call.id))

    def _why(self, call: _Call, now: float) -> str:
        waited = f"within {now - call.started:.3g} s"
        if not self.is_open:
            return f"the inbox for answers was not acknowledged {waited}; service {call.service!r} was not asked"
        asked = {ident: times for ident, times in call.asked.items() if times}
        if not asked:
            return f"no instance of service {call.service!r} was there {waited}"
        times = ", ".join(f"{ident[:8]} {count} times" for ident, count in asked.items())
        return f"no answer from service {call.service!r} {waited}; asked {times}: it may have been done all the same"
