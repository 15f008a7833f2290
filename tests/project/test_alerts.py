"""The alert rules and the dashboard: they name metrics that there are, Prometheus takes them, and each alert comes when
it should and not before."""

from __future__ import annotations

import copy
import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodes.operate.metrics import METRICS
from tests.support.processes import ROOT

PROMETHEUS = ROOT / "scripts" / "deploy" / "prometheus"
WATCH = ROOT / "docs" / "how-to" / "watch.md"
DASHBOARD = json.loads((ROOT / "scripts" / "deploy" / "grafana" / "fabric.json").read_text())
yaml: Any = importlib.import_module("yaml")
RULES: dict[str, Any] = {
    rule["alert"]: rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
KNOWN = {metric.name for metric in METRICS} | {"fabric_info"}
PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds"}
"""Of prometheus-client, on Linux."""
LABELS = {metric.name: set(filter(None, metric.label.split(","))) for metric in METRICS} | {
    "fabric_info": {"program", "name"}
}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)


def panels() -> Iterator[dict[str, Any]]:
    """Those of the dashboard that show something."""
    for panel in DASHBOARD["panels"]:
        yield from panel.get("panels", []) if panel["type"] == "row" else [panel]


def expressions() -> dict[str, str]:
    """Every expression of the alerts and the dashboard, by where it stands."""
    found = {name: rule["expr"] for name, rule in RULES.items()}
    for panel in panels():
        for target in panel.get("targets", []):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


def promtool(*words: str | Path) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", expressions())
def test_every_metric_that_is_named_is_there(where: str) -> None:
    named = set(re.findall(r"\b(?:fabric|process)_\w+", re.sub(r"\{[^}]*\}", "", expressions()[where])))
    assert (named or re.search(r"\b(up|ALERTS)\{", expressions()[where])) and named <= KNOWN | PROCESS


@pytest.mark.parametrize("where", expressions())
def test_every_label_of_a_metric_is_one_that_it_has(where: str) -> None:
    for name, matchers in re.findall(r"\b(fabric_\w+)\{([^}]*)\}", expressions()[where]):
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) - {"job", "instance", "process"}
        assert used <= LABELS[name], f"{name} in {where}"


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for name, rule in RULES.items():
        assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"}), name
        assert set(rule["annotations"]) == {"summary", "description"} and name.startswith("Fabric")


def test_what_to_do_about_each_alert_is_told_in_the_order_of_the_file() -> None:
    rows = re.findall(r"^\| `(Fabric\w+)` \| (.+) \| (.+) \|$", WATCH.read_text(), re.MULTILINE)
    assert [name for name, _, _ in rows] == list(RULES)
    assert all(len(what) > 10 and len(do) > 10 for _, what, do in rows)


# ── Prometheus ───────────────────────────────────────────────────────────────────────────────────────────────────────


@needs_promtool
def test_prometheus_takes_the_rules_and_the_configuration(tmp_path: Path) -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", PROMETHEUS / "alerts.yml")
    for each in PROMETHEUS.iterdir():
        shutil.copy(each, tmp_path)
    (tmp_path / "targets.json").write_text('[{"targets": ["127.0.0.1:5575"], "labels": {"process": "p1"}}]')
    promtool("check", "config", tmp_path / "prometheus.yml")


@needs_promtool
def test_prometheus_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {
            "record": "tried",
            "expr": expr.replace("$__rate_interval", "1m").replace("$job", "fabric").replace("$process", ".*"),
        }
        for where, expr in expressions().items()
        if where not in RULES
    ]
    assert rules and not any("$" in rule["expr"] for rule in rules)
    (tmp_path / "tried.yml").write_text(yaml.safe_dump({"groups": [{"name": "tried", "rules": rules}]}))
    # One name for all is no matter here: what is tried is whether each can be read.
    promtool("check", "rules", "--lint=none", tmp_path / "tried.yml")


AT = 'instance="h:1",job="fabric",process="p1"'
WELL = {
    f"up{{{AT}}}": "1",
    f"fabric_proxy_member{{{AT}}}": "1",
    f'fabric_proxy_links{{state="linked",{AT}}}': "2",
    f'fabric_proxy_links{{state="unlinked",{AT}}}': "0",
    f'fabric_proxy_links{{state="dead",{AT}}}': "0",
    f"fabric_proxy_turned_seconds{{{AT}}}": "0.05",
    f"fabric_proxy_echoed_seconds{{{AT}}}": "0.5",
    f"fabric_proxy_queued_bytes{{{AT}}}": "1000",
    f"fabric_proxy_slow_readers_cut_total{{{AT}}}": "7",
    f"fabric_proxy_open_files{{{AT}}}": "100",
    f"fabric_proxy_enough_files{{{AT}}}": "1000",
    f'fabric_proxy_refused_total{{kind="strangers",{AT}}}': "3",
    f'fabric_proxy_refused_total{{kind="handshake",{AT}}}': "0+10x200",
    f'fabric_proxy_retained_total{{what="over_topics",{AT}}}': "3",
    f'fabric_proxy_retained_total{{what="kept",{AT}}}': "0+10x200",
    f"fabric_insecure{{{AT}}}": "0",
    f"fabric_observing{{{AT}}}": "0",
    f"fabric_rules_stale{{{AT}}}": "0",
    f"fabric_node_connected{{{AT}}}": "1",
    f"fabric_node_lost_total{{{AT}}}": "1510",
    f"fabric_node_uncertain_total{{{AT}}}": "5",
    f"fabric_node_publish_wait_seconds_total{{{AT}}}": "0+0.1x200",
    f'fabric_node_refused_total{{kind="number",{AT}}}': "4",
    f"fabric_keep_dropped_total{{{AT}}}": "1",
    f"fabric_keep_values_dropped_total{{{AT}}}": "1",
    f"fabric_keep_waiting{{{AT}}}": "100",
    f"fabric_keep_holes_total{{{AT}}}": "2",
    f"fabric_keep_store_up{{{AT}}}": "1",
    f"fabric_gateway_sessions{{{AT}}}": "0",
    f"fabric_frame_store_up{{{AT}}}": "1",
    f"fabric_frame_busy_total{{{AT}}}": "3",
    f"fabric_frame_expired_total{{{AT}}}": "3",
    f"fabric_frame_clock_offset_seconds{{{AT}}}": "-1",
    f"fabric_store_codes{{{AT}}}": "500",
    f"fabric_store_codes_resting{{{AT}}}": "100",
    f"fabric_store_codes_free{{{AT}}}": "4000",
    f'fabric_audit_lost_total{{why="queue",{AT}}}': "3",
}
"""A process that is all of them at once, for whom all is well, though not all was: counters stand still."""
RISES = "0x30 1+1x200"
"""Of a counter: nothing for half an hour, then one a minute."""
FAULTS: dict[str, dict[str, str]] = {
    "FabricProcessDown": {"up": "1x30 0x200"},
    "FabricNoProxy": {"fabric_proxy_member": "1x30 stale"},
    "FabricProxyNotMember": {"fabric_proxy_member": "1x30 0x200"},
    "FabricProxyDead": {'fabric_proxy_links{state="dead"': "0x30 1x200"},
    "FabricLinksDown": {'fabric_proxy_links{state="unlinked"': "0x30 1x200"},
    "FabricProxyHeldUp": {"fabric_proxy_echoed_seconds": "0.5x30 3x200"},
    "FabricNodeNotConnected": {"fabric_node_connected": "1x30 0x200"},
    "FabricMessagesLost": {"fabric_node_lost_total": RISES},
    "FabricMessagesUncertain": {"fabric_node_uncertain_total": RISES},
    "FabricQueuesFilling": {"fabric_proxy_queued_bytes": "0x30 200000000x200"},
    "FabricStalledReaderCut": {"fabric_proxy_slow_readers_cut_total": RISES},
    "FabricPublishersWait": {"fabric_node_publish_wait_seconds_total": "0x30 1+30x200"},
    "FabricKeeperDropped": {"fabric_keep_values_dropped_total": RISES},
    "FabricKeeperBehind": {"fabric_keep_waiting": "0x30 20000x200"},
    "FabricKeeperHoles": {"fabric_keep_holes_total": RISES},
    "FabricKeeperStoreDown": {"fabric_keep_store_up": "1x30 0x200"},
    "FabricGatewayWithoutFrameNode": {"fabric_frame_store_up": "1x30 stale"},
    "FabricFrameStoreDown": {"fabric_frame_store_up": "1x30 0x200"},
    "FabricFrameNoCodes": {"fabric_store_codes_free": "4000x30 0x200"},
    "FabricFrameFewCodes": {"fabric_store_codes_free": "4000x30 50x200"},
    "FabricFrameBusy": {"fabric_frame_expired_total": RISES},
    "FabricClocksDiffer": {"fabric_frame_clock_offset_seconds": "0x30 -11x200"},
    "FabricInsecure": {"fabric_insecure": "0x30 1x200"},
    "FabricObserving": {"fabric_observing": "0x30 1x200"},
    "FabricRulesStale": {"fabric_rules_stale": "0x30 1x200"},
    "FabricForged": {'fabric_proxy_refused_total{kind="strangers"': RISES},
    "FabricAuditLost": {"fabric_audit_lost_total": RISES},
    "FabricDescriptorsShort": {"fabric_proxy_open_files": "100x30 950x200"},
    "FabricRetainedOver": {'fabric_proxy_retained_total{what="over_topics"': RISES},
}
"""What each alert is for: what changes, half an hour after all was well."""
TOO = {
    "FabricFrameNoCodes": {"FabricFrameFewCodes"},
    "FabricFrameStoreDown": {"FabricGatewayWithoutFrameNode"},
}
"""What comes with it, and has to."""


def firing(minutes: int, names: set[str]) -> dict[str, Any]:
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)]
    return {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{minutes}m",
        "exp_samples": expected,
    }


@needs_promtool
def test_each_alert_comes_when_it_should_and_alone_and_none_while_all_is_well(tmp_path: Path) -> None:
    assert list(FAULTS) == list(RULES)
    tests = []
    for name, changes in FAULTS.items():
        series = {start: values if "x" in values else f"{values}x200" for start, values in WELL.items()}
        for start, values in changes.items():
            (key,) = [each for each in series if each.startswith(start)]
            series[key] = values
        tests.append(
            {
                "name": name,
                "interval": "1m",
                "input_series": [{"series": key, "values": values} for key, values in series.items()],
                "promql_expr_test": [firing(29, set()), firing(100, {name} | TOO.get(name, set()))],
            }
        )
    asked = {"rule_files": [str(PROMETHEUS / "alerts.yml")], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "asked.yml").write_text(yaml.safe_dump(asked))
    promtool("test", "rules", tmp_path / "asked.yml")


# ── Grafana ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    """By the models that Grafana publishes: what they do not know is lost on the way there and back."""
    cog: Any = importlib.import_module("grafana_foundation_sdk.cog.plugins")
    models: Any = importlib.import_module("grafana_foundation_sdk.models.dashboard")
    encoder: Any = importlib.import_module("grafana_foundation_sdk.cog.encoder")
    cog.register_default_plugins()
    read = models.Dashboard.from_json(DASHBOARD)
    again = json.loads(encoder.JSONEncoder().encode(read))
    assert missing(DASHBOARD, again) == []
    wrong = copy.deepcopy(DASHBOARD)
    stat = next(panel for panel in wrong["panels"] if panel["type"] == "stat")
    stat["options"]["colourMode"] = stat["options"].pop("colorMode")
    again = json.loads(encoder.JSONEncoder().encode(models.Dashboard.from_json(wrong)))
    assert [each.rpartition(".")[2] for each in missing(wrong, again)] == ["colourMode"]


def missing(wanted: Any, found: Any, where: str = "") -> list[str]:
    """Return where something of `wanted` is not in `found`."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            lost
            for key, value in wanted.items()
            for lost in (missing(value, found[key], f"{where}.{key}") if key in found else [f"{where}.{key}"])
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            lost for at, pair in enumerate(zip(wanted, found, strict=True)) for lost in missing(*pair, f"{where}[{at}]")
        ]
    return [] if wanted == found else [where]


def test_panels_have_a_title_a_unit_and_a_place_that_no_other_has() -> None:
    taken: set[tuple[int, int]] = set()
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles) > 15
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"] and panel["description"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_it_can_be_imported_anywhere() -> None:
    assert "id" not in DASHBOARD and "__inputs" not in DASHBOARD
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == ["datasource", "job", "process"]
