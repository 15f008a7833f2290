"""The metrics that a process exports: names, meanings, and which figure of which part each one is. Pure.

A process has *parts* (`proxy`, `node`, `frame`, `store`, `keep`, `kept`, `page`, `agent`, `gateway`, `http`, `audit`,
`sub`), each with a map of figures, its `stats()`. METRICS is the whole list, and the table in the documentation;
`families` reads the figures that are there. Nothing is counted for the metrics alone: figures are read when somebody
asks.

A program with further parts adds rows to METRICS, and hands their figures in under the name of the part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from fabric.identity.rules import DOORS

Figures = Mapping[str, Any]


class Metric(NamedTuple):
    """One metric.

    path:  where its value is in the figures: a number, a bool, something with a length; with a label, a map
    label: name of the label under which each key of that map stands; with two, `a,b`, its values are maps, too
    """

    name: str
    kind: Literal["counter", "gauge"]
    part: str
    path: str
    meaning: str
    label: str = ""


class Family(NamedTuple):
    """A metric with its present values, by the values of its labels: none, one or two."""

    metric: Metric
    values: tuple[tuple[tuple[str, ...], float], ...]


def _of(part: str, start: str, rows: str) -> Iterator[Metric]:
    """The metrics of one part, a line each: the name behind `start` with its label, the path, the meaning."""
    for row in rows.strip().splitlines():
        name, path, meaning = row.split(None, 2)
        name, _, label = name.rstrip("}").partition("{")
        yield Metric(start + name, "counter" if name.endswith("_total") else "gauge", part, path, meaning, label)


METRICS = (
    *_of("proxy", "fabric_proxy_", """
    messages_total{stream}     counts            messages by stream, with those of the fabric itself
    bytes_total{stream}        bytes             bytes of the same
    member                     member            1 while it is a member of its mesh
    links{state}               links             other proxies that it knows: `linked`, `unlinked`, `dead`
    nodes                      nodes             nodes connected
    prefixes{place}            subscriptions     prefixes subscribed to, at its `out`, `link` and `guest`
    prefix_bytes{place}        prefix_bytes      bytes of the prefixes subscribed to, at its `out` and `guest`
    queued_bytes               queued_bytes      bytes that wait for slow readers, about; what waits for several once
    slow_readers_cut_total     slow_readers_cut  connections cut because their readers took too little
    refused_total{kind}        refused           parts refused
    mended_total               mended            prefixes subscribed again that a stray cancel had taken away
    retained{what}             retained.now      retained values: `topics`, their `bytes`; `tombstones` of cleared ones
    retained_total{what}       retained.since    what became of values: `kept`, over a bound, `clock` ahead, older, …
    open_files                 descriptors.used  open files
    max_files                  descriptors.limit open files at most
    enough_files               descriptors.enough open files beyond which it is not ready
    uptime_seconds             uptime_s          time since it started
    turned_seconds             turned_s_ago      since its control thread last turned; above 1 it is held up
    echoed_seconds             echoed_s_ago      since its streams last answered its control thread; above 2 they are
    """),
    *_of("proxy", "fabric_", """
    insecure                   identity.insecure 1 while it listens beyond loopback without keys: open to everybody
    observing                  identity.observe  1 while rights are not enforced, and only told
    rules_stale                identity.rules_stale 1 while the file of rules is wrong: those before it are in force
    auth_total{event,door}     auth              connections `admitted` and `refused` by their keys; its own tests, too
    denied_total{act}          denied            what was refused by the rules: `publish`, `subscribe`
    cut_total                  identity.cut      connections cut because of new rules
    """),
    *_of("node", "fabric_node_", """
    connected                  connected         1 while it is connected with a proxy
    covered_proxies            covered           proxies that its acked subscriptions reach
    missing_proxies            missing           proxies that are known and not reached
    published_total            published         messages accepted from the program
    unconfirmed                unconfirmed       parts accepted, not yet known to have reached the proxy
    uncertain_total            uncertain         parts accepted that may be lost with a connection
    resent_total               resent            parts sent again after a connection broke
    publish_waits_total        waits             publishes that waited for room in the queue, or for a connection
    publish_wait_seconds_total waited_s          time that these waited, in all
    received_total             received          parts that arrived
    over_delivered_total       over_delivered    parts that match no filter: a coarser prefix let them through
    refused_total{kind}        refused           parts that were not a message
    duplicates_total           duplicates        messages that came twice, and were dropped
    gaps_total                 gaps              losses reported
    lost_total                 lost              messages lost for good, over all gaps
    repaired_total             repaired          messages that were lost on the way, and came when they were asked for
    asks_total                 asked             what it asked publishers for, because it was lost
    answered_total             answered          parts that it sent again to one who had lost them
    repeated_total             repeated          parts that it sent again to all, because several had lost them
    started_late_total         started_late      topics whose first message here was not their publisher's first
    evicted_total              evicted           last numbers dropped for lack of room: a loss there is not noticed
    failed_callbacks_total     failed_callbacks  callbacks of the program that raised
    subscriptions              subscriptions     subscriptions held
    prefixes                   interest.wire     prefixes held at the proxy
    coarse_prefixes            interest.coarse   of these, coarser than was asked for
    moves_total                moves             moves to another proxy because the old one drained
    reconnects_total           reconnects        connections lost
    denied_total               denied            what the rules of the mesh did not let it do
    refusals_total             refusals          its connections that a proxy did not admit
    """),
    *_of("frame", "fabric_frame_", """
    requests_total             requests          requests that arrived whole
    handled_total              handled           requests done
    unproven_total             unproven          requests, and pages in them, that were not proven to be whose they say
    batches_total              batches           commits they were done in
    request_wait_seconds_total waited_s          time that the requests done had waited for their turn, in all
    in_flight                  in_flight         requests that wait or are being done
    busy_total                 busy              requests refused as busy: too many in flight
    expired_total              expired           requests whose deadline passed before their turn
    clock_offset_seconds       clock_offset_s    how far the clock of one that asks is off, of the one that differs most
    refused_total              refused           requests that were not well formed
    failed_total               failed            requests at which the frame node itself failed
    untold_total               untold            events that could not be published; heartbeats replace them
    store_up                   store_up          1 while the store answers
    """),
    *_of("store", "fabric_store_", """
    page_leases                pages             pages that are live
    agent_leases               agents            agents that are signed in
    codes                      codes             contact codes that pages hold
    codes_resting              resting           contact codes in quarantine
    codes_free                 free              free contact codes
    sessions                   sessions          pages with an agent
    chats_waiting              waiting           pages that wait for a chat
    """),
    *_of("keep", "fabric_keep_", """
    written_total              written           messages written to the store
    doubles_total              doubles           messages that were in the store already
    dropped_total              dropped           messages not kept: the store was too slow, or they were too large
    holes_total                holes             ranges that were lost for good, or dropped, and written down
    batches_total              batches           transactions they were written in
    values_total               values            retained values written to the store
    values_dropped_total       values_dropped    retained values not kept: the store was too slow
    values_ahead_total         values_ahead      retained values not kept: set in the future, by the keeper's clock
    given_back_total           given_back        retained values given back to the mesh, which had lost them
    given_back_denied_total    given_back_denied the same, which the keeper may not publish: not given back
    given_back_refused_total   given_back_refused the same, which were too many for its node: not given back
    deleted_total              deleted           messages deleted, because they are kept no longer
    waiting                    waiting           messages taken and not written yet
    waiting_bytes              waiting_bytes     bytes of the same
    pages_total                pages             pages of histories that were answered
    denied_total               denied            requests for a history that the rules of the mesh do not allow
    store_up                   store_up          1 while the store answers
    """),
    *_of("kept", "fabric_kept_", """
    messages                   messages          messages in the store
    bytes                      bytes             bytes of the same: payloads, headers, topics, and 64 for each
    """),
    *_of("page", "fabric_page_", """
    hosted{state}              pages             pages hosted: `ready` with a contact code, `other` without
    dropped_total{kind}        drops             parts dropped: for pages not here, after the end, not a frame node's
    """),
    *_of("agent", "fabric_agent_", """
    signed_in                  signed_in         1 while a frame node knows the agent
    pages                      pages             pages it is engaged with
    update_gaps_total          gaps              gaps in updates, each followed by a snapshot
    updates_refused_total      refused           updates of another epoch, or after its lease
    updates_unsynced_total     unsynced          updates passed over before a snapshot
    unproven_total             unproven          state maps and answers that were not proven to be a frame node's
    """),
    *_of("gateway", "fabric_gateway_", """
    sessions                   sessions          page sessions here, with a browser or waiting for one
    browsers                   browsers          pages connected
    agents                     agents            agents signed in here
    opened_total               opened            sockets of pages and agents that were welcomed
    refused_total{kind}        refused           why browsers were refused, limited or closed
    """),
    *_of("http", "fabric_http_", """
    requests_total             requests          requests to this status page that were answered
    refused_total{kind}        refused           requests refused: `token_missing`, `token_wrong`, `tls`
    """),
    *_of("audit", "fabric_audit_", """
    noted_total                noted             what happened, as it was noted for the audit stream
    lines_total                written           lines written; one may stand for many notes
    lost_total{why}            lost              of these, `queue`: only counted, for lack of room; `write`: unwritten
    """),
    *_of("sub", "fabric_sub_", """
    printed_total              printed           messages printed
    dropped_total              dropped           messages dropped because stdout was too slow
    """),
)  # fmt: skip


def families(parts: Mapping[str, Figures]) -> Iterator[Family]:
    """Yield every metric of the parts that are there; one whose figure is missing has no value."""
    for metric in METRICS:
        if metric.part in parts:
            yield Family(metric, _values(metric, parts[metric.part]))


def proxy_figures(stats: Figures) -> dict[str, Any]:
    """Return the figures of a proxy: its `stats()`, and what follows from them."""
    peers = stats.get("peers", ())
    dead = sum(peer["dead"] for peer in peers)
    linked = sum(peer["linked"] and not peer["dead"] for peer in peers)
    links = {"linked": linked, "unlinked": len(peers) - linked - dead, "dead": dead}
    return {**stats, "member": stats.get("state") == "member", "links": links, **_identity(stats.get("identity", {}))}


def _identity(figures: Figures) -> dict[str, Any]:
    """What a proxy counts of keys and rights, by what and where: `admitted_in` is one of them."""
    auth: dict[str, dict[str, int]] = {}
    denied: dict[str, int] = {}
    for name, count in figures.items():
        what, _, where = name.partition("_")
        if what in ("admitted", "refused") and where in DOORS:
            auth.setdefault(what, {})[where] = count
        elif what == "denied":
            denied[where] = count
    found = {"cut": 0, "observe": False, "rules_stale": False, "insecure": False, **figures}
    return {"identity": found, "auth": auth, "denied": denied}


def node_figures(stats: Figures) -> dict[str, Any]:
    """Return the figures of a node: its `stats()`, and what follows from them."""
    return {**stats, "connected": stats["state"] in ("connected", "moving")}


def _values(metric: Metric, figures: Figures) -> tuple[tuple[tuple[str, ...], float], ...]:
    value: Any = figures
    for key in metric.path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return ()
        value = value[key]
    return tuple(_labelled(value, len(metric.label.split(",")) if metric.label else 0))


def _labelled(value: Any, labels: int) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield the numbers in maps of maps, so many deep, with the keys that lead to them."""
    if not labels:
        yield (), float(len(value) if isinstance(value, list | tuple) else value)
        return
    for key, each in sorted(value.items()):
        for rest, number in _labelled(each, labels - 1):
            yield (str(key), *rest), number
