"""Which proxy a node is at, and what it does when that one falls silent, breaks or drains. Pure.

| state | input | what follows | state then |
|---|---|---|---|
| connecting | `uplink_opened` | probe, and again every 50 ms | connecting |
| connecting, it publishes | `watermark_returned`, no retry due | Connected | connected |
| connecting, it does not | `marker_answered` | Connected, without a way to publish | connected |
| connecting | `uplink_closed` | another try after a pause, 20 ms to 0.5 s | connecting |
| connecting | `downlink_refused`, several bases | the next at once; when all have refused, a pause | connecting |
| connecting | `tick` 1.5 s after the attempt began, several bases | OpenUplink, Detach, Attach: the next | connecting |
| connected | `publishes`, for the first time | OpenUplink | opening |
| opening | `uplink_opened`, `uplink_closed` | as while connecting | opening |
| opening | `watermark_returned`, no retry due | Publishing | connected |
| opening | `tick` 1.5 s after it began, several bases | Lost, then the next base | connecting |
| connected | `uplink_closed` | Lost, then the next base, or this one again | connecting |
| connected, opening | `downlink_closed` | the same | connecting |
| connected, opening | `tick`, idle, after `silence_s` of silence | the same | connecting |
| connected | `proxy_drains`, several bases | Move | moving |
| moving | `move_finished`, it publishes | OpenUplink to the next base | connecting |
| moving | `move_finished`, it does not | Connected, without a way to publish | connected |
| moving | `tick` 3 s after the move began | Lost, then the next base | connecting |

Any other input leaves the state as it is. Publishers wait when the uplink closes while moving, until the move is over.

A node opens the way to its proxy's ingress when it publishes for the first time, and keeps one from then on. Until then
it is *connected* when its marker was answered at the proxy's out; afterwards when a watermark that it sent through the
ingress came back by the out: both ways are open. `Connection` decides; the shell (`fabric.node.engine`) opens and
closes what the effects say, and tells what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fabric.errors import expected

TRANSITIONS = {
    ("connecting", "proven"): "connected",
    ("connected", "wanted"): "opening",
    ("opening", "proven"): "connected",
    ("connected", "lost"): "connecting",
    ("opening", "lost"): "connecting",
    ("connected", "drains"): "moving",
    ("moving", "moved"): "connecting",
    ("moving", "lost"): "connecting",
}
"""The same without what follows."""
RETRY_FIRST_S = 0.02
RETRY_LAST_S = 0.5
PROBE_S = 0.05
ATTEMPT_S = 1.5
"""How long one base is tried before the next one's turn, when there are several."""


@dataclass(frozen=True)
class Attach:
    """Receive from `base`: connect to its out, send every held prefix."""

    base: str


@dataclass(frozen=True)
class Detach:
    """Receive no more from the base before, once what it had sent is read."""


@dataclass(frozen=True)
class OpenUplink:
    """Make a new connection to `base`'s ingress; give up the one before, if any."""

    base: str


@dataclass(frozen=True)
class SendProbe:
    """Send a watermark through the ingress."""


@dataclass(frozen=True)
class Connected:
    """The proxy is there.

    publishing: both ways are proven: send again what is not confirmed, then let publishers go on. False: nobody has
                published yet; who does is heard, and has `Connection.publishes` called
    """

    base: str
    publishing: bool


@dataclass(frozen=True)
class Publishing:
    """The way to the ingress is proven, too: send what was accepted meanwhile, then let publishers go on."""


@dataclass(frozen=True)
class Lost:
    """The proxy is gone: publishers wait, nothing is covered."""

    base: str
    why: str


@dataclass(frozen=True)
class Move:
    """Connect to `base` beside the present proxy, and let go of that only when the new one covers everything."""

    base: str


Effect = Attach | Detach | OpenUplink | SendProbe | Connected | Publishing | Lost | Move


class Connection:
    """The connection of one node to one of `bases`.

    silence_s: a proxy of which nothing was heard for so long, with nothing waiting to be read, is lost
    may_move:  the bases are of several proxies, so that another one can be taken when the present one drains
    """

    def __init__(self, bases: Sequence[str], *, silence_s: float = 3.0, may_move: bool = True) -> None:
        if not bases:
            raise ValueError(expected("addresses", list(bases), "at least one, such as tcp://127.0.0.1:5570"))
        self.bases = tuple(dict.fromkeys(bases))
        """Each address once, in the order given. Never changes."""
        self.state = "connecting"
        """`connecting`, `connected`, `opening` or `moving`; see the table above."""
        self._publishes = False
        """It keeps a connection to the ingress. Set once, by `publishes`."""
        self._silence_s, self._may_move = silence_s, may_move
        self._refused = 0
        """Bases in a row that refused, since one was connected."""
        self._round_s = RETRY_FIRST_S
        """Pause when all have refused; doubles from `RETRY_FIRST_S` to `RETRY_LAST_S`."""
        self._at = 0
        """Index into `bases` of the present one; while moving, of the one it moves away from."""
        self._heard_at = 0.0
        """When the proxy was last heard of."""
        self._attempt_until = 0.0
        """Connecting or opening: when the next base has its turn. Moving: when the move has failed. Else it means
        nothing."""
        self._retry_at: float | None = None
        """When a new connection to the ingress is due, since the last one failed; None: one is there, or is tried."""
        self._retry_s = RETRY_FIRST_S
        """Pause before the next such try; doubles from `RETRY_FIRST_S` to `RETRY_LAST_S` within one attempt."""
        self._probe_at: float | None = None
        """When the next watermark is due; None unless the ingress took the connection, and the way is not proven."""

    @property
    def base(self) -> str:
        """The base that is connected, or tried at present."""
        return self.bases[self._at]

    @property
    def silent_at(self) -> float:
        """When the proxy will have been silent for too long, if nothing is heard of it until then."""
        return self._heard_at + self._silence_s

    def start(self, now: float) -> list[Effect]:
        return [Attach(self.base), *self._open(now)]

    def publishes(self, now: float) -> list[Effect]:
        """The node has something to publish, for the first time."""
        if self._publishes:
            return []
        self._publishes = True
        if self.state == "connecting":
            return self._open(now, fresh=False)
        if self.state == "connected":
            self._move("wanted")
            return self._open(now)
        return []

    def uplink_opened(self, now: float) -> list[Effect]:
        """The connection to the ingress is open: probe it."""
        if self.state not in ("connecting", "opening"):
            return []
        self._probe_at = now + PROBE_S
        return [SendProbe()]

    def uplink_closed(self, now: float, why: str) -> list[Effect]:
        """The connection to the ingress broke or could not be made."""
        self._probe_at = None
        if self.state == "connected":
            return self._lose(now, why)
        if self._retry_at is None:
            self._retry_at = now + self._retry_s
            self._retry_s = min(self._retry_s * 2, RETRY_LAST_S)
        return []

    def downlink_closed(self, now: float, why: str) -> list[Effect]:
        """The connection to the proxy's out broke: what was subscribed is not, until it is made again."""
        return self._lose(now, why) if self.state in ("connected", "opening") else []

    def downlink_refused(self, now: float) -> list[Effect]:
        """Nothing listens at the proxy's out, or its name is not known: that costs no waiting for an answer."""
        if self.state != "connecting" or len(self.bases) == 1:
            return []
        self._refused += 1
        if self._refused % len(self.bases):
            return self._turn(now)
        self._attempt_until = min(self._attempt_until, now + self._round_s)
        self._round_s = min(self._round_s * 2, RETRY_LAST_S)
        return []

    def watermark_returned(self, now: float) -> list[Effect]:
        """A watermark sent over the present connection came back."""
        self._heard_at = now
        if self.state not in ("connecting", "opening") or self._retry_at is not None:
            return []  # with a retry due: it came back, and the connection has closed since
        was = self.state
        self._move("proven")
        self._probe_at = self._retry_at = None
        return [Publishing() if was == "opening" else Connected(self.base, publishing=True)]

    def marker_answered(self, now: float) -> list[Effect]:
        """The proxy, which is a member of the mesh, answered a marker that went over the present connection."""
        self._heard_at = now
        if self.state != "connecting" or self._publishes:
            return []
        self._move("proven")
        return [Connected(self.base, publishing=False)]

    def proxy_heard(self, now: float) -> None:
        """The proxy announced itself, or answered."""
        self._heard_at = now

    def proxy_drains(self, now: float) -> list[Effect]:
        """The proxy said that it will go."""
        if self.state != "connected" or len(self.bases) == 1 or not self._may_move:
            return []
        self._move("drains")
        self._attempt_until = now + ATTEMPT_S * 2
        return [Move(self._next())]

    def move_finished(self, now: float) -> list[Effect]:
        """The new proxy covers everything, and the old one's way is flushed: receive from the new one from now on."""
        if self.state != "moving":
            return []
        self._at = (self._at + 1) % len(self.bases)
        self._move("moved")
        return self._open(now) or self.marker_answered(now)

    def tick(self, now: float, idle: bool) -> list[Effect]:
        """What time demands. `idle`: nothing waits to be read, so silence is silence."""
        if self.state == "moving":
            return self._lose(now, "the move took too long") if now > self._attempt_until else []
        if self.state != "connecting" and idle and now - self._heard_at > self._silence_s:
            return self._lose(now, f"nothing heard for {self._silence_s:g} s")
        if self.state == "connected":
            return []
        if len(self.bases) > 1 and now > self._attempt_until:
            return self._lose(now, "nothing can be published there") if self.state == "opening" else self._turn(now)
        effects: list[Effect] = []
        if self._retry_at is not None and now >= self._retry_at:
            effects += self._open(now, fresh=False)
        if self._probe_at is not None and now >= self._probe_at:
            self._probe_at = now + PROBE_S
            effects.append(SendProbe())
        return effects

    def _move(self, event: str) -> None:
        if event == "proven":
            self._refused, self._round_s = 0, RETRY_FIRST_S
        self.state = TRANSITIONS[self.state, event]

    def _open(self, now: float, *, fresh: bool = True) -> list[Effect]:
        if fresh:
            self._attempt_until = now + ATTEMPT_S
            self._retry_s = RETRY_FIRST_S
        self._retry_at = self._probe_at = None
        return [OpenUplink(self.base)] if self._publishes else []

    def _lose(self, now: float, why: str) -> list[Effect]:
        lost = Lost(self.base, why)
        self._move("lost")
        if len(self.bases) > 1:
            return [lost, *self._turn(now)]
        return [lost, *self._open(now)]

    def _turn(self, now: float) -> list[Effect]:
        """It is the next base's turn."""
        self._at = (self._at + 1) % len(self.bases)
        # The new connection first: what is read while letting go may hold a watermark, which must not prove this one.
        return [*self._open(now), Detach(), Attach(self.base)]

    def _next(self) -> str:
        return self.bases[(self._at + 1) % len(self.bases)]
