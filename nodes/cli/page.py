"""`fabric page`: visitors' pages that a shell script can drive."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabric.errors import expected
from fabric.node.coverage import Ack
from fabric.wire import Message
from nodes.cli.driven import Command, Lines, field, warn_of_dropped
from nodes.cli.exits import Exit, Fail, plain
from nodes.cli.operating import Http, operating_options, status_page
from nodes.cli.options import Connect, PositiveNumber, check, connect_option, connect_timeout_option, open_node
from nodes.operate import logs
from nodes.operate.health import pages_problem
from nodes.page.host import host_of, new_token
from nodes.page.hosted_page import HostedPage
from nodes.page.page_chat import Kept
from nodes.rules import fields, topics
from nodes.rules.backoff import Backoff
from nodes.rules.cobrowse import CONSENTS

if TYPE_CHECKING:
    from fabric.node.node import Node

SHOWN_OF_CODE = 2
"""Characters of a contact code that a log may hold: enough to tell two apart, and one in ten thousand guesses."""
RELEASE_S = 2.0
_PATIENCE = Backoff()
_SHORT = ("~/site_connect/", "~pagesession/")
_VISITORS = {
    "show": topics.SHOW,
    "minimise": topics.MINIMISE,
    "hide": topics.HIDE,
    "stop_chat": topics.CHAT_STOPPED,
}


class Pages:
    """The pages of this process, numbered from 1, and the commands for them."""

    def __init__(
        self,
        lines: Lines,
        updates: Sequence[Any],
        rate: float,
        make: Callable[[str | None, Kept | None], HostedPage],
        *,
        mask_codes: bool = False,
    ):
        self._lines, self._updates, self._rate, self._make = lines, updates, rate, make
        self._mask_codes = mask_codes
        self._pages: dict[int, HostedPage] = {}
        """By number. `open` puts a page in, also in the place of one that is loaded again."""
        self._sent: dict[int, int] = {}
        """By number, how many updates of the file a page has sent. Changed by the sender's thread."""
        self._subscribed: dict[int, int] = {}
        """By the number that an `ack` names, the page's subscription."""
        self._last_subscribed = 0
        """The last of these numbers; they count from 1 over all pages."""
        self._ended = threading.Event()
        """Set by `close`; ends the sender."""
        self._sender = threading.Thread(target=self._send_updates, name="updates", daemon=True)

    def open(self, number: int, secret: str | None = None, kept: Kept | None = None) -> HostedPage:
        """Make a page, and tell what it sees."""
        page = self._pages[number] = self._make(secret, kept)
        page.subscribe("~/#", lambda message: self._saw(number, message))
        page.subscribe("~pagesession/#", lambda message: self._saw(number, message))
        return page

    def start(self, node: Node) -> None:
        for number, page in self._pages.items():
            self._lines.tell("page", page=number, session=page.session)
            page.attach(node)
        if self._updates:
            self._sender.start()

    def close(self) -> None:
        """Release all pages, without waiting for each."""
        self._ended.set()
        if self._sender.is_alive():
            self._sender.join()
        for page in self._pages.values():
            page.close()

    def _saw(self, number: int, message: Message) -> None:
        topic = message.topic
        if topic == topics.UPDATE:
            return  # this page sent it
        if topic == topics.SNAPSHOT_REQUEST and self._updates:
            self._pages[number].send_update({"sent": self._sent.get(number, 0)}, snapshot=True)
        name = next((topic[len(prefix) :] for prefix in _SHORT if topic.startswith(prefix)), topic)
        retained = {"retained": True} if message.headers.get("retained") else {}
        payload = masked(message.payload) if self._mask_codes else message.payload
        self._lines.tell(name, page=number, payload=payload, **retained)

    def _send_updates(self) -> None:
        """Have each co-browsed page send the file's events, round and round; all pages of one turn together."""
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / self._rate, time.monotonic() - 1.0)
            for number, page in list(self._pages.items()):
                sent = self._sent.get(number, 0)
                if page.try_update(self._updates[sent % len(self._updates)]):
                    self._sent[number] = sent + 1

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────

    def do(self, command: Command) -> None:
        """Do what a line of stdin says; ValueError or a FabricError for what is wrong with it."""
        doing = getattr(self, f"_do_{command['do']}", None)
        if doing is None and command["do"] not in _VISITORS:
            known = [name[4:] for name in dir(self) if name.startswith("_do_")]
            raise ValueError(expected("command", command["do"], f"one of {', '.join([*known, *_VISITORS, 'quit'])}"))
        numbers = list(self._pages) if command.get("page") == "all" else [field(command, "page", int, 1)]
        for number in numbers:
            if number not in self._pages:
                raise ValueError(expected("page", number, f"1 to {len(self._pages)}"))
            if doing is None:
                self._pages[number].publish(_VISITORS[command["do"]], command.get("payload"))
            else:
                doing(number, self._pages[number], command)

    def _do_allow(self, number: int, page: HostedPage, command: Command) -> None:
        page.allow(self._asked_epoch(page, command))

    def _do_decline(self, number: int, page: HostedPage, command: Command) -> None:
        page.decline(self._asked_epoch(page, command))

    def _asked_epoch(self, page: HostedPage, command: Command) -> int:
        """Return the epoch that the command names, or else that of the present request."""
        asked = page.asked()
        if "epoch" not in command and asked is None:
            raise ValueError(f"missing 'epoch' of {command['do']!r}: nobody asks this page at present")
        epoch: int = field(command, "epoch", int) if asked is None else field(command, "epoch", int, asked["epoch"])
        return epoch

    def _do_publish(self, number: int, page: HostedPage, command: Command) -> None:
        page.publish(field(command, "topic", str), command.get("payload"))

    def _do_subscribe(self, number: int, page: HostedPage, command: Command) -> None:
        def acked(ack: Ack) -> None:
            error = {} if ack.error is None else {"error": ack.error}
            self._lines.tell("ack", page=number, subscription=ident, ok=ack.ok, covered=list(ack.covered), **error)

        def arrived(message: Message) -> None:
            retained = {"retained": True} if message.headers.get("retained") else {}
            told = {"topic": message.topic, "payload": message.payload, **retained}
            self._lines.tell("message", page=number, **told)

        self._last_subscribed += 1
        ident = self._last_subscribed
        self._subscribed[ident] = page.subscribe(field(command, "topic", str), arrived, acked)

    def _do_unsubscribe(self, number: int, page: HostedPage, command: Command) -> None:
        ident = field(command, "subscription", int)
        if ident not in self._subscribed:
            raise ValueError(expected("subscription", ident, "one that an `ack` has named"))
        page.unsubscribe(self._subscribed.pop(ident))

    def _do_trigger(self, number: int, page: HostedPage, command: Command) -> None:
        page.publish(topics.TRIGGER, {"button": field(command, "button", str)})

    def _do_chat(self, number: int, page: HostedPage, command: Command) -> None:
        payload = {"from": "visitor", "text": field(command, "text", str), "id": new_token()}
        page.publish(topics.MESSAGE, payload)

    def _do_update(self, number: int, page: HostedPage, command: Command) -> None:
        sent = page.send_update(command.get("event"), field(command, "snapshot", bool, False))
        self._lines.tell("update_sent" if sent else "update_not_sent", page=number)

    def _do_stop_session(self, number: int, page: HostedPage, command: Command) -> None:
        stop = page.stop_session()
        self._lines.tell("stopped_here", page=number)
        stop.on_acknowledged(lambda: self._lines.tell("stop_acknowledged", page=number))

    def _do_retry(self, number: int, page: HostedPage, command: Command) -> None:
        page.retry()

    def _do_reload(self, number: int, page: HostedPage, command: Command) -> None:
        """The visitor loads the page again: the session goes on in a new page."""
        node = page.node
        page.close(release=False)
        again = self.open(number, page.secret, page.chat())
        if node is not None:
            again.attach(node)

    def _do_close(self, number: int, page: HostedPage, command: Command) -> None:
        page.close()


def masked(payload: Any) -> Any:
    """Return the payload of an event with its contact code masked: `48****`. Who has a code can ask to see the page."""
    if not isinstance(payload, dict) or not isinstance(payload.get("code"), str):
        return payload
    code = payload["code"]
    return {**payload, "code": code[:SHOWN_OF_CODE] + "*" * (len(code) - SHOWN_OF_CODE)}


@click.command()
@click.option("--count", default=1, show_default=True, type=click.IntRange(1), help="How many pages.")
@click.option("--buttons", default="", metavar="ID,…", help="Ids of each page's chat buttons.")
@click.option(
    "--updates",
    "path",
    metavar="FILE",
    type=click.Path(),
    help="Lines of JSON, which co-browsed pages send round and round.",
)
@click.option(
    "--rate", default=10.0, show_default=True, type=PositiveNumber(), help="Updates that each page sends a second."
)
@click.option("--consent", type=click.Choice(CONSENTS), default="code", show_default=True,
              help="Whether an agent who has the code joins at once, or asks.")  # fmt: skip
@click.option("--lease", "lease_s", metavar="S", default=10.0, show_default=True, type=PositiveNumber(),
              help="How long a contact code is kept without a heartbeat.")  # fmt: skip
@click.option("--attempts", default=_PATIENCE.attempts, show_default=True, type=click.IntRange(1),
              help="How often to ask for a contact code before giving up.")  # fmt: skip
@click.option("--max-delay", "cap_s", metavar="S", default=_PATIENCE.cap_s, show_default=True, type=PositiveNumber(),
              help="Longest pause between two attempts.")  # fmt: skip
@click.option("--mask-codes", is_flag=True,
              help="Print the first two characters of a contact code only: for a log that others read.")  # fmt: skip
@operating_options
@connect_option
@connect_timeout_option
def page(
    count: int,
    buttons: str,
    path: str | None,
    rate: float,
    consent: str,
    lease_s: float,
    attempts: int,
    cap_s: float,
    mask_codes: bool,
    http: Http,
    log_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Host visitors' pages that a shell script can drive.

    Pages are numbered from 1. Events come as lines of JSON on stdout: what each page sees under ~/site_connect/ and
    ~pagesession/, named by the rest of its topic. Commands are lines of JSON on stdin; "page" is a number (default 1)
    or "all". It runs until SIGTERM, Ctrl-C or {"do": "quit"}.

    \b
      {"do": "publish", "page": 1, "topic": "~pagesession/x", "payload": …}
      {"do": "subscribe", "topic": "truck/#"}     {"do": "unsubscribe", "subscription": 3}
      {"do": "allow"}  {"do": "decline"}          what an agent asks for; "epoch" names another request
      {"do": "stop_session"}                      {"do": "update", "event": …, "snapshot": true}
      {"do": "trigger", "button": "help"}         {"do": "chat", "text": "hello"}
      {"do": "stop_chat"}  {"do": "show"}  {"do": "minimise"}  {"do": "hide"}
      {"do": "retry"}  {"do": "reload"}  {"do": "close"}  {"do": "quit"}

    \b
    Example:
      fabric page --buttons help
    """
    names = tuple(name for name in buttons.split(",") if name)
    check("--buttons", list(names), fields.BUTTONS)
    check("--lease", lease_s, fields.LEASE_S)
    logs.begin("fabric page", as_json=log_json)
    lines = Lines()
    backoff = Backoff(base_s=min(_PATIENCE.base_s, cap_s), cap_s=cap_s, attempts=attempts)
    updates = [] if path is None else _read_updates(path)

    def make(secret: str | None, kept: Kept | None) -> HostedPage:
        options: dict[str, Any] = {"lease_s": lease_s, "backoff": backoff, "consent": consent}
        return HostedPage(secret=secret, buttons=names, kept=kept, **options)

    with status_page("page", http) as status, open_node(connect, connect_timeout_s) as node:
        pages = Pages(lines, updates, rate, make, mask_codes=mask_codes)
        for number in range(1, count + 1):
            pages.open(number)
        pages.start(node)
        hosted = host_of(node).stats
        status.watch_node(node)
        status.watch("page", hosted)
        status.ready_with(node, lambda: pages_problem(hosted()))
        lines.run(pages.do)
        pages.close()
        host_of(node).flush(RELEASE_S)
    warn_of_dropped(lines)
    return Exit.DONE


def _read_updates(path: str) -> list[Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Fail(f"{path} cannot be read: {error}", Exit.MISSING) from None
    updates = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            updates.append(json.loads(line))
        except ValueError:
            raise click.UsageError(f"{plain(path)}, line {number}: {expected('update', line, 'JSON')}") from None
    if not updates:
        raise click.UsageError(f"{plain(path)} is empty: expected a line of JSON for each update")
    return updates
