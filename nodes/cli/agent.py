"""`fabric agent`: an agent that a shell script can drive."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import click

from fabric.errors import expected
from nodes.agent.agent import Agent
from nodes.cli.driven import Command, Lines, field, warn_of_dropped
from nodes.cli.exits import Exit, Fail
from nodes.cli.operating import Http, operating_options, status_page
from nodes.cli.options import Connect, PositiveNumber, check, connect_option, connect_timeout_option, open_node
from nodes.cli.secret_file import read_long_secret
from nodes.operate import logs
from nodes.operate.status import Status
from nodes.rules import fields

_ON_PAGE = ("accept", "decline", "stop_chat", "proactive")


class Driver:
    """An agent's commands."""

    def __init__(self, agent: Agent, lines: Lines) -> None:
        self._agent, self._lines = agent, lines
        self.is_refused = False
        """The code that `join_first` was given was refused. Set once, and the command ends."""

    def do(self, command: Command) -> None:
        """Do what a line of stdin says; ValueError or a FabricError for what is wrong with it."""
        agent, what = self._agent, command["do"]
        if what == "available":
            agent.set_available(field(command, "on", bool, True))
        elif what == "join":
            agent.join(field(command, "code", str)).add_done_callback(self._over(command))
        elif what == "ask":
            capability = field(command, "capability", str, "view")
            agent.ask(self._session(command), capability).add_done_callback(self._over(command))
        elif what == "stop":
            agent.stop(self._session(command))
        elif what == "say":
            agent.say(self._session(command), field(command, "text", str))
        elif what == "dismiss":
            agent.dismiss(self._session(command))
        elif what in _ON_PAGE:
            agent.request(what, session=self._session(command)).add_done_callback(self._over(command))
        elif what == "stats":
            self._lines.tell("stats", **agent.stats())
        else:
            known = ("available", "join", "ask", "stop", "say", "dismiss", *_ON_PAGE, "stats", "quit")
            raise ValueError(expected("command", what, f"one of {', '.join(known)}"))

    def join_first(self, code: str) -> None:
        """Join the page that holds this code; where that is refused, the command ends."""

        def over(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None:
                self.is_refused = True
                self._lines.refuse({"do": "join"}, error)
                self._lines.end()

        self._agent.join(code).add_done_callback(over)

    def _session(self, command: Command) -> str:
        """Return the session that the command names, or else the only one there is."""
        if "session" in command:
            return str(field(command, "session", str))
        sessions = [state["session"] for state in self._agent.pages()]
        if len(sessions) != 1:
            raise ValueError(f"missing 'session' of {command['do']!r}: {len(sessions)} pages are engaged")
        return str(sessions[0])

    def _over(self, command: Command) -> Callable[[Future[Any]], None]:
        def over(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None:
                self._lines.refuse(command, error)
            elif command["do"] == "decline":
                self._lines.tell("declined", session=done.result()["session"])

        return over


@click.command()
@click.argument("agent", metavar="ID")
@click.option("--name", help="The name visitors see. [default: the id]")
@click.option("--buttons", default="", metavar="ID,…", help="Ids of the chat buttons that the agent serves.")
@click.option("--available", is_flag=True, help="Be available for chats from the beginning.")
@click.option("--join", "code", metavar="CODE", help="Join the page that holds this contact code.")
@click.option("--lease", "lease_s", metavar="S", default=10.0, show_default=True, type=PositiveNumber(),
              help="How long the agent stays signed in without a heartbeat.")  # fmt: skip
@click.option("--secret-file", metavar="FILE", type=click.Path(),
              help="A secret of at least 16 bytes: who has it may go on as this agent before its lease is over, as"
              " after a crash. [default: drawn at the start]")  # fmt: skip
@operating_options
@connect_option
@connect_timeout_option
def agent(
    agent: str,
    name: str | None,
    buttons: str,
    available: bool,
    code: str | None,
    lease_s: float,
    secret_file: str | None,
    http: Http,
    log_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Act as the agent ID, driven by a shell script.

    Events come as lines of JSON on stdout: signed_in, requested, request_declined, joined, update, stopped,
    chat_offered, chat_open, chat_message, chat_history, chat_closed and others. Commands are lines of JSON on stdin;
    "session" may be left out while there is only one. It runs until SIGTERM, Ctrl-C or {"do": "quit"}; with --join it
    ends with 1 when the code is refused, and with 4 when no frame node answers.

    \b
      {"do": "join", "code": "482913"}   {"do": "stop", "session": …}
      {"do": "available", "on": true}    {"do": "accept"}  {"do": "decline"}
      {"do": "ask"}                      ask the visitor of a chat to see the page; "stop" takes that back
      {"do": "say", "text": "hello"}     {"do": "stop_chat"}  {"do": "proactive"}
      {"do": "dismiss", "session": …}
      {"do": "stats"}  {"do": "quit"}

    \b
    Example:
      fabric agent ada --name 'Ada' --buttons help --available
    """
    served = [each for each in buttons.split(",") if each]
    for what, value, field_of in (
        ("ID", agent, fields.AGENT),
        ("--name", name or agent, fields.NAME),
        ("--buttons", served, fields.BUTTONS),
        ("--lease", lease_s, fields.LEASE_S),
    ):
        check(what, value, field_of)
    logs.begin("fabric agent", as_json=log_json)
    secret = None if secret_file is None else read_long_secret(secret_file).hex()
    lines = Lines()

    def tell(event: dict[str, Any]) -> None:
        if event["event"] == "pulse":
            return  # one a second, for who watches a picture
        lines.tell(**event)
        if event["event"] == "update" and event["snapshot"]:
            running.shown(event["session"], event["epoch"])

    with (
        status_page("agent", http) as status,
        open_node(connect, connect_timeout_s, f"agent-{agent}") as node,
        Agent(node, agent, name or agent, buttons=served, lease_s=lease_s, secret=secret, on_event=tell) as running,
    ):
        driver = Driver(running, lines)
        _watch(status, running)
        if available:
            running.set_available(True)
        if code is not None:
            if not running.wait_ready(connect_timeout_s):
                raise Fail(f"no frame node signed {agent} in within {connect_timeout_s:g} s", Exit.NOBODY)
            driver.join_first(code)
        lines.run(driver.do)
    warn_of_dropped(lines)
    return Exit.NOT_REACHED if driver.is_refused else Exit.DONE


def _watch(status: Status, agent: Agent) -> None:
    status.watch_node(agent.node)
    status.name = agent.agent
    status.watch("agent", lambda: {**agent.stats(), "signed_in": agent.signed_in, "pages": agent.pages()})
    status.ready_with(agent.node, lambda: "" if agent.signed_in else "not signed in: no frame node has answered")
