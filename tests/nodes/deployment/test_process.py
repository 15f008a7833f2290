"""The lines of a plan, as scripts read them."""

from __future__ import annotations

from nodes.deployment.description import Host
from nodes.deployment.process import FORM, SEPARATOR, Plan, Process


def test_a_line_has_every_field_and_runs_in_the_state_folder_unless_it_says_else() -> None:
    host = Host("h", ("ssh", "h"), "10.0.0.1", "/f", "/s s")
    one = Process("a", "run", host, ("x", "y z"), members=("FABRIC_CONNECT=b c",), env=("T=1 2",), restart="always")
    two = Process("g", "gateway", host, ("x",), "http://h:1", secret="s", role="r", folder="/f f", readies=3)
    made = list(Plan((one, two), 30, 10, "/k").lines())
    assert [line.split(SEPARATOR) for line in made] == [
        [FORM, "30", "10", "/k"],
        ["a", "run", "h", "ssh h", "'/s s'", "/f", "", "1", "", "always", "", "", "'FABRIC_CONNECT=b c'", "'T=1 2'",
         "'/s s'", "x 'y z'"],
        ["g", "gateway", "h", "ssh h", "'/s s'", "/f", "http://h:1", "3", "", "no", "r", "s", "", "", "'/f f'", "x"],
    ]  # fmt: skip
