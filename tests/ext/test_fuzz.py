"""The fuzz targets, on their corpora and a bounded number of inputs made from them."""

import os
import subprocess

import pytest

from tests.ext.fuzzing import FUZZ, Targets, target_names

_RUNS = {"lane": 10_000}
"""Fewer where an input is a script of many steps."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory, clang: str) -> Targets:
    return Targets(clang, tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", target_names())
def test_no_input_breaks_what_the_target_holds(name: str, targets: Targets) -> None:
    command = targets.command(name, f"-runs={_RUNS.get(name, 50_000)}")
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert os.listdir(FUZZ / "corpus" / name)
