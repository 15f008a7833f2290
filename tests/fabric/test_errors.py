"""One root, blame by class, and the tree in the docstring is the tree there is."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from fabric import errors
from fabric.errors import Busy, FabricError, RemoteWireError, StateError, TopicError, expected

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == "fabric.errors"]


def test_every_error_has_the_one_root_and_says_whom_it_blames() -> None:
    assert len(CLASSES) > 10
    assert all(issubclass(each, FabricError) and each.__doc__ for each in CLASSES)
    assert issubclass(TopicError, ValueError), "a wrong topic is a wrong value to whoever passed it"


def test_the_tree_in_the_docstring_is_the_tree_there_is() -> None:
    """A line `├─ Parent…  Child · Child` names a direct child of the root, one behind `│` a child's child, and its
    own children."""
    tree: dict[str, set[str]] = {"FabricError": set()}
    for bar, line in re.findall(r"(│?) *[├└]─ (.*)", errors.__doc__ or ""):
        words = re.findall(r"\b[A-Z]\w+", re.sub(r"\(.*?\)|zmq\.\w+", "", line))
        if not bar:
            tree["FabricError"].add(words[0])
        tree[words[0]] = set(words[1:])
    real: dict[str, set[str]] = {}
    for each in CLASSES:
        if each is not FabricError:
            real.setdefault(each.__mro__[1].__name__, set()).add(each.__name__)
    assert {parent: children for parent, children in tree.items() if children} == real


def test_what_an_error_carries() -> None:
    state = StateError("co-browsing", "idle", "stop", "join first")
    assert (state.machine, state.state, state.event) == ("co-browsing", "idle", "stop")
    assert str(state) == "co-browsing: 'stop' is not possible in state 'idle': join first"
    assert str(StateError("m", "s", "e")) == "m: 'e' is not possible in state 's'"
    assert RemoteWireError("no").kind == "malformed" and RemoteWireError("no", "version").kind == "version"
    assert Busy("full").retry_after_s == 1.0 and Busy("full", 0.25).retry_after_s == 0.25


@pytest.mark.parametrize("cls", [each for each in CLASSES if each is not StateError])
def test_a_message_is_kept_as_it_is(cls: type[FabricError]) -> None:
    error = cls("what was wrong; what would be right")
    assert str(error) == "what was wrong; what would be right"
    assert str(pickle.loads(pickle.dumps(error))) == str(error), "errors cross process boundaries"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x/y", "invalid name 'x/y': expected 1 to 100 characters"),
        (None, "invalid name None: expected 1 to 100 characters"),
        ("it's" * 1000, "invalid name \"it'sit"),
        (b"\0" * 1_000_000, "invalid name b'\\x00\\x00"),
        ([7] * 1000, "invalid name [7, 7"),
    ],
)
def test_an_error_says_in_one_line_what_was_wrong_and_what_was_expected(value: object, words: str) -> None:
    text = expected("name", value, "1 to 100 characters")
    assert text.startswith(words) and text.endswith(": expected 1 to 100 characters") and len(text) < 110
    assert ("…" in text) == (len(repr(value)) > 60)
