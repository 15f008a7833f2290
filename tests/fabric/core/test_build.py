"""Which build runs: compiled where all of it can be imported, plain Python where a part is missing, or on demand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fabric.core import build
from tests.support.processes import ROOT


def said(words: str, **variables: str) -> str:
    """What a new interpreter prints."""
    env = {key: value for key, value in os.environ.items() if key != build.PURE_VARIABLE} | variables
    return subprocess.run([sys.executable, "-c", words], env=env, capture_output=True, text=True, check=True).stdout


def test_the_checkout_is_compiled() -> None:
    """scripts/setup builds it; so the tests do not pass by running the twins twice."""
    words = "from fabric.core import BUILD, COMPILED; print(BUILD, COMPILED)"
    assert said(words) == "compiled True\n"


def test_the_twins_can_be_chosen() -> None:
    words = "import sys, fabric.core as core; print(core.BUILD, [each for each in sys.modules if 'core._' in each])"
    assert said(words, FABRIC_PURE="1") == "plain Python []\n"


def test_one_part_that_is_missing_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(build.PURE_VARIABLE, raising=False)
    assert build.all_compiled()
    monkeypatch.setattr(build, "COMPILED_PARTS", (*build.COMPILED_PARTS, "_never"))
    assert not build.all_compiled()


def test_every_compiled_module_is_known_typed_and_has_its_twin() -> None:
    core = ROOT / "fabric" / "core"
    found = {path.stem for path in core.glob("*.pyx")}
    assert found == set(build.COMPILED_PARTS)
    for name in found:
        assert (core / f"{name}.pyi").exists()
        assert name == "_libzmq" or Path(core / f"{name[1:]}.py").exists()
