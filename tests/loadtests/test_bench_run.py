"""The whole benchmark once, small and short: that it works, not what it measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.bench.programs import INSTALL, SOURCES, find

pytestmark = pytest.mark.live

TINY = ("--tiny", "--rounds=1", "--seconds=0.1")


def run_bench(*options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "loadtests.bench", *options]
    return subprocess.run(argv, cwd=SOURCES, capture_output=True, text=True, check=False)


@pytest.mark.timeout(400)  # starts some fifty processes
def test_every_row_is_measured_printed_and_kept(tmp_path: Path) -> None:
    if missing := [install for name, install in INSTALL.items() if find(name) is None]:
        message = f"the benchmark lacks something: {'; '.join(missing)}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    done = run_bench(*TINY, f"--results={tmp_path}", f"--directory={tmp_path}")
    assert done.returncode == 0, done.stderr
    [result] = tmp_path.iterdir()
    saved = json.loads(result.read_text())
    assert len(saved["lines"]) == 31
    for line in saved["lines"]:
        assert f"| {line['work']} " in done.stdout
        assert line["values"]
    assert "unknown" not in saved["machine"].values()
    assert str(result) in done.stdout


def test_a_row_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = run_bench("--only", "nonsense")
    assert done.returncode == 2
    assert "manifest-get" in done.stderr
