"""One run: a contender, locust before it, and what both say afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from loadtests.bench.programs import free_port, start, stop
from loadtests.client.failures import Failure
from loadtests.compare.contenders import Contender, Field, Running
from loadtests.compare.matrix import COLD, Case
from loadtests.compare.watch import Sample, between

PROCESSES = 2
VERIFY = "xxh3"
LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
DROP = "loadtests.compare.drop"
TIMEOUT_S = 900
END_OF_LOG = 2_000
SHOWN_FAILURES = 3


@dataclass
class Run:
    """What came of a case with one contender in one round."""

    contender: str
    round: int
    what: str
    shape: str
    image: str
    nodes: int
    image_bytes: int
    result: dict[str, Any] | None = None
    server_cpu_s: float | None = None
    samples: list[Sample] = field(default_factory=list)
    egress_bytes: int | None = None
    """What the storage account sent, heads included."""
    error: str | None = None

    @property
    def measured(self) -> dict[str, Any]:
        assert self.result is not None, self
        return self.result


def measure(stand: Field, contender: Contender, case: Case, number: int) -> Run:
    """Let a contender do a case; what goes wrong stands in the result."""
    image = stand.images[case.image]
    kind = (contender.name, number, case.what, case.shape, case.image, case.nodes)
    run = Run(*kind, image.size_bytes)
    try:
        with stand.serving(contender, image) as running:
            load(stand.workdir, running, case, run)
    except (OSError, RuntimeError, Failure) as error:
        run.error = str(error)
    return run


def load(workdir: Path, running: Running, case: Case, run: Run) -> None:
    sent_before = running.sent_bytes()
    with running.watch() as watch:
        run.result, run.error = locust(workdir, running, case)
    if watch is not None and run.result is not None:
        # Until all nodes are there, a server that has just been started is busy with itself.
        begun_s, ended_s = (
            datetime.fromisoformat(run.result[moment]).timestamp()
            for moment in ("started", "ended")
        )
        run.server_cpu_s = watch.cpu_since(begun_s)
        run.samples = between(watch.samples, begun_s, ended_s)
    if sent_before is not None:
        run.egress_bytes = (running.sent_bytes() or 0) - sent_before


def locust(workdir: Path, running: Running, case: Case) -> tuple[dict[str, Any] | None, str | None]:
    """Return what locust measured, and what it complained about."""
    results, log = workdir / "locust.json", workdir / "locust.log"
    results.unlink(missing_ok=True)
    process = start(command(workdir, running, case, results), {}, log)
    try:
        code = process.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        stop(process)
        with contextlib.suppress(ProcessLookupError):  # the usual: no process of it is left
            os.killpg(process.pid, signal.SIGKILL)
    if code is None:
        return None, f"locust had not ended after {TIMEOUT_S} s"
    if not results.exists():
        return None, log.read_text()[-END_OF_LOG:]
    result = json.loads(results.read_text())
    return compact(result), None if code == 0 else complaint(result)


def complaint(result: dict[str, Any]) -> str:
    """Return what failed, in a line."""
    requests = (
        f"{kind['errors']} of {kind['count']} {name}"
        for name, kind in result["requests"].items()
        if kind["errors"]
    )
    obstacle = [result["error"]] if result["error"] else []
    return "failed: " + "; ".join([*obstacle, *requests, *result["failures"][:SHOWN_FAILURES]])


def compact(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result with the times of its pulls and without the rest of what each was."""
    pulls = result.pop("pulls")
    return result | {"pull_seconds": [pull["seconds"] for pull in pulls if not pull["error"]]}


def command(workdir: Path, running: Running, case: Case, results: Path) -> list[str]:
    port = free_port()
    options: dict[str, object] = {
        "--master-bind-port": port,
        "--master-port": port,
        "--host": running.url,
        "--shape": case.shape,
        "--nodes": case.nodes,
        "--images": case.image,
        "--processes": PROCESSES,
        "--verify": VERIFY,
        "--results": results,
    }
    if case.lasts_s:
        options["--duration"] = case.lasts_s
    if case.shape == COLD:
        options["--drop-command"] = shlex.join([sys.executable, "-m", DROP, str(workdir)])
    if running.user:
        options |= {"--registry-user": running.user, "--registry-password": running.password}
    words = [str(word) for pair in options.items() for word in pair]
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", *words]
