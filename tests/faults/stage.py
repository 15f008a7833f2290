"""A whole fabric of processes on three hosts, under load, and what can befall it.

    h1: p1 f1 w1 pages      proxies p*, which join each other; frame nodes f* on one store
    h2: p2 f2 w2            workers w*, who publish, and subscribe to everybody; w3 knows its own proxy only
    h3: p3    w3 ada        pages, and the agent ada who visits the first of them

    with stage(folder) as world:
        world.begin(fault); world.end(fault)
        world.recover()                       # until all of it is there again
        world.prove(); world.balance()          # acks are true; the books are right

Hosts are network namespaces and the store is on a small disk of its own where this machine allows it; `lacking` says
what it does not allow, and `targets` whom which fault may befall.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.faults import small_proxy
from tests.faults.disk import Disk, NoDisk, small_disk
from tests.faults.hosts import Host, NoHosts, hosts
from tests.faults.schedule import Fault
from tests.faults.visits import Visits
from tests.faults.worker import WorkerProcess
from tests.support.processes import FABRIC, FabricProcess, Process, free_base
from tests.support.site import Driven
from tests.support.waiting import PATIENCE_S, stop_all, until

HOSTS = 3
PAGES = 3
RATE = 80.0
"""Messages a second and worker."""
SLOW_S = 0.02
"""A slow handler's time for each message; 240 come in a second."""
READY_S = 60.0


class Stage:
    """The processes by name, as they are now."""

    def __init__(self, folder: Path, places: list[Host], disk: Disk | None, lacking: list[str], url: str = "") -> None:
        self.folder, self.disk, self.lacking = folder, disk, lacking
        self.places = places
        self.url = url or f"sqlite:///{(disk.folder if disk else folder)}/store.db"
        self.bases = [f"tcp://{host.address}:5570" for host in places] or [free_base() for _ in range(HOSTS)]
        self.now: dict[str, Process] = {}
        self.started: list[Process] = []
        self._ending: set[str] = set()
        self._make: dict[str, Callable[[], Process]] = {}
        self._plan()

    def _plan(self) -> None:
        for number, base in enumerate(self.bases, 1):
            others = [other for other in self.bases if other != base]
            self._make[f"p{number}"] = self._process(
                number, small_proxy.command(f"p{number}", base, *others, "--first"), f"p{number}"
            )
        for number in (1, 2):
            words = ["frame", "--store", self.url, "--name", f"f{number}", *self._connect(number)]
            self._make[f"f{number}"] = self._process(number, [*FABRIC, *words], f"f{number}")
        for number in range(1, HOSTS + 1):
            known = self._known(number) if number < HOSTS else self._known(number)[:1]
            self._make[f"w{number}"] = self._worker(number, known)

    def _known(self, number: int) -> list[str]:
        """All proxies, the one of this host first."""
        return self.bases[number - 1 :] + self.bases[: number - 1]

    def _connect(self, number: int) -> list[str]:
        words = [word for base in self._known(number) for word in ("--connect", base)]
        return [*words, "--connect-timeout", str(READY_S)]

    def _prefix(self, number: int) -> tuple[str, ...]:
        return self.places[number - 1].prefix if self.places else ()

    def _process(self, number: int, command: Sequence[str], name: str) -> Callable[[], Process]:
        return lambda: Process([*self._prefix(number), *command], self.folder, name=name)

    def _worker(self, number: int, known: list[str]) -> Callable[[], Process]:
        return lambda: WorkerProcess(f"w{number}", known, self.folder, self._prefix(number))

    def _driven(self, name: str, number: int, args: list[str]) -> Driven:
        found = Driven([*args, *self._connect(number)], self.folder, name=name, prefix=self._prefix(number))
        self.now[name] = found
        self.started.append(found)
        return found

    # ── its beginning ────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Return when all runs, and messages flow between all workers."""
        for name in self._make:  # all at once: those who come too early try again
            self._start(name)
        updates = self.folder / "updates.jsonl"
        updates.write_text('{"text": "an update"}\n')
        pages = ["page", "--count", str(PAGES), "--updates", str(updates), "--rate", "50"]
        page = self._driven("pages", 1, [*pages, "--attempts", "1000", "--max-delay", "0.5"])
        self.visits = Visits(page, self._driven("ada", 3, ["agent", "ada", "--lease", "4"]), PAGES)
        self.wait_ready("p", "f", "w")
        everybody = [worker.name for worker in self.workers]
        self._until_whole()
        for worker in self.workers:
            worker.ask("subscribe", "subscribed", to=everybody)
        for worker in self.workers:
            worker.do("publish", rate=RATE)
        for worker in self.workers:
            worker.ask("flowing", "flowing")
        self.visits.wait_ready()

    def _start(self, name: str) -> None:
        self.now[name] = self._make[name]()
        self.started.append(self.now[name])

    def wait_ready(self, *kinds: str) -> None:
        """Until each process whose name begins so has said that it is ready."""
        for name, process in self.now.items():
            if name.startswith(kinds) and name != "pages":
                process.wait_event("ready", READY_S)

    def fabric(self, number: int, *args: str) -> FabricProcess:
        """Run a fabric command on a host."""
        found = FabricProcess(args, self.folder, prefix=self._prefix(number))
        self.started.append(found)
        return found

    @property
    def workers(self) -> list[WorkerProcess]:
        return [process for process in self.now.values() if isinstance(process, WorkerProcess)]

    # ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def targets(self) -> dict[str, list[str]]:
        """Whom each kind of fault may befall."""
        served = [name for name in self.now if name[0] in "pf" and name != "pages"]
        return {
            "kill": served,
            "restart": served,
            "stand still": list(self.now),
            "cut": [host.name for host in self.places],
            "slow": [worker.name for worker in self.workers],
            "full disk": ["store"] if self.disk else [],
        }

    def begin(self, fault: Fault) -> None:
        match fault.what:
            case "kill":
                self._ending.discard(fault.target)
                self.now[fault.target].kill()
            case "restart":
                self.now[fault.target].signal(signal.SIGTERM)
            case "stand still":
                self.now[fault.target].signal(signal.SIGSTOP)
            case "cut":
                self.host(fault.target).cut()
            case "slow":
                self._worker_of(fault).do("slow", pause_s=SLOW_S)
            case "full disk":
                assert self.disk
                self.disk.fill()

    def end(self, fault: Fault) -> None:
        match fault.what:
            case "kill":
                self._start(fault.target)
            case "restart":
                self._ending.add(fault.target)
            case "stand still":
                self.now[fault.target].signal(signal.SIGCONT)
            case "cut":
                self.host(fault.target).heal()
            case "slow":
                self._worker_of(fault).do("slow", pause_s=0)
            case "full disk":
                assert self.disk
                self.disk.free()

    def step(self) -> None:
        """To be called often: what was told to end, and has, is started again; the agent visits."""
        for name in [name for name in self._ending if not self.now[name].alive]:
            self._ending.remove(name)
            self.now[name].wait()
            self._start(name)
        self.visits.step()

    def host(self, name: str) -> Host:
        return next(host for host in self.places if host.name == name)

    def _worker_of(self, fault: Fault) -> WorkerProcess:
        return next(worker for worker in self.workers if worker.name == fault.target)

    # ── afterwards ───────────────────────────────────────────────────────────────────────────────────────────────

    def recover(self) -> float:
        """Wait until everybody is ready, and covered by all proxies; return how long that took."""
        begun = time.monotonic()

        def ended() -> bool:
            self.step()
            return not self._ending

        until(ended, f"these have ended: {self._ending}", READY_S)
        self.wait_ready("p", "f")
        self._until_whole()
        return time.monotonic() - begun

    def _until_whole(self) -> None:
        """Until each worker is connected, and every proxy covers it."""
        for worker in self.workers:
            until(lambda worker=worker: self._is_whole(worker), f"{worker.name} reaches all", READY_S)  # type: ignore[misc]

    def _is_whole(self, worker: WorkerProcess) -> bool:
        status = worker.ask("status", "status")
        return status["state"] == "connected" and len(status["covered"]) == HOSTS and not status["missing"]

    def prove(self, *groups: Sequence[str]) -> None:
        """Fresh subscriptions: each ack covers the proxies of its group, and misses the others; what is published
        within the group at once behind it arrives.

        groups: numbers of hosts that reach each other; default: all of them
        """
        everybody = [worker.name[1:] for worker in self.workers]
        for group in groups or (everybody,):
            within = [worker for worker in self.workers if worker.name[1:] in group]
            wanted = [[f"p{number}" for number in everybody if (number in group) is here] for here in (True, False)]
            for worker in within:
                ident = self._acked(worker, *wanted)
                topics = [f"proof/{ident}/{other.name}" for other in within]
                for other, topic in zip(within, topics, strict=True):
                    other.ask("say", "said", topic=topic)
                came = worker.ask("proofs", "proofs", id=ident, count=len(topics))
                assert came["topics"] == topics, f"{worker.name} was acked all, and then got only {came['topics']}"

    def _acked(self, worker: WorkerProcess, covered: list[str], missing: list[str]) -> str:
        """Return the id of a fresh subscription whose ack says this. On a machine that stands still for seconds a
        proxy may be missing once more; an ack that says so is as true."""
        end = time.monotonic() + PATIENCE_S
        while True:
            ident = f"{worker.name}-{len(worker.stdout)}"
            ack = worker.ask("prove", "acked", id=ident)
            if ack["ok"] and (ack["covered"], ack["missing"]) == (covered, missing):
                return ident
            assert time.monotonic() < end, f"{worker.name}: {ack}; right would be {covered}, missing {missing}"

    def balance(self) -> dict[str, dict[str, Any]]:
        """End the load. Each subscriber's books on each publisher are right; return them."""
        accepted = {worker.name: worker.ask("finish", "finished") for worker in self.workers}
        assert not any(each["refused"] for each in accepted.values()), "no publisher was refused anything"
        books = {}
        for worker in self.workers:
            for of, told in accepted.items():
                found = worker.ask("settle", "settled", of=of, accepted=told["accepted"])
                assert not found["wrong"], f"{worker.name} of {of}: {found['wrong']}"
                books[f"{worker.name} of {of}"] = {key: found[key] for key in ("delivered", "lost", "reasons")}
        states = {worker.name: worker.ask("status", "status") for worker in self.workers}
        uncertain = {name: state["uncertain"] for name, state in states.items()}
        assert not any(uncertain.values()), uncertain
        books["all"] = {key: sum(each[key] for each in books.values()) for key in ("delivered", "lost")}
        books["all"]["repaired"] = sum(state["repaired"] for state in states.values())
        return books


@contextlib.contextmanager
def stage(folder: Path, url: str = "") -> Iterator[Stage]:
    """All of it, started; whatever came of it is ended, and taken away. `url`: of another store than SQLite."""
    lacking: list[str] = []
    with contextlib.ExitStack() as stack:
        places: list[Host] = []
        disk = None
        try:
            places = stack.enter_context(hosts(HOSTS))
        except NoHosts as error:
            lacking.append(str(error))
        try:
            disk = None if url else stack.enter_context(small_disk(folder))
        except NoDisk as error:
            lacking.append(str(error))
        found = Stage(folder, places, disk, lacking, url)
        stack.callback(lambda: stop_all(found.started, READY_S))
        found.start()
        yield found
    hung = [process.name for process in found.now.values() if process.popen.returncode == -signal.SIGKILL]
    assert not hung, f"these did not end when they were told to: {hung}"
