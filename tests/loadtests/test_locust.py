"""Locust runs as a user starts them: every shape, over a live registry, and over wrong ones.

Locust patches what imports it, so each run is a process of its own. All are started at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loadtests.bench.processes import tree
from loadtests.client.registry import Registry as Client
from loadtests.images import Image, catalog
from loadtests.seed import push_image
from tests.clients.processes import Daemon, free_port
from tests.live.processes import Registry, wait_until
from tests.loadtests.wrong_registries import Corrupted, corrupting

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]
SCALE = 0.001
LASTS = "--duration 4 --think-time 0.05-0.2"
WAIT_S = 100
RUNS = {
    "herd": "--nodes 30 --rounds 2 --verify xxh3 --node-cache image",
    "rolling": "--shape rolling --nodes 7 --waves 3 --images redis,node --node-cache layers "
    "--processes 2",
    "cold": "--shape cold --nodes 4 --rounds 2 --node-cache image --drop-command true",
    "steady": f"--shape steady --nodes 5 {LASTS}",
    "mixed": f"--shape mixed --nodes 5 --push-weight 40 --push-size 0.05 {LASTS}",
}


@dataclass(frozen=True)
class Outcome:
    code: int
    said: str
    results: dict[str, Any]
    processes: tuple[int, ...] = ()


def command(*options: str) -> list[str | Path]:
    port = str(free_port())
    ports = ["--master-bind-port", port, "--master-port", port]
    locustfile = ROOT / "loadtests" / "locustfile.py"
    return [sys.executable, "-m", "locust", "-f", locustfile, *ports, *options]


def play(results: Path, host: str, *options: str) -> Outcome:
    host_options = ["--host", host] if host else []
    done = subprocess.run(
        command("--headless", "--results", str(results), *host_options, *options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    found = json.loads(results.read_text()) if results.exists() else {}
    return Outcome(done.returncode, done.stdout, found)


def end_early(results: Path, host: str, *options: str) -> Outcome:
    """End a run when it has shown an image."""
    arguments = command("--headless", "--results", str(results), "--host", host, *options)
    daemon = Daemon(arguments, results.with_suffix(".log"), {})
    try:
        daemon.wait_until(lambda: "IMAGE" in daemon.output())
        processes = tree(daemon.process.pid)
    finally:
        code = daemon.stop()
    found = json.loads(results.read_text()) if results.exists() else {}
    return Outcome(code, daemon.output(), found, tuple(processes))


@pytest.fixture(scope="module")
def images() -> dict[str, Image]:
    return {image.name: image for image in catalog(SCALE, ["herd", "redis", "node"])}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, images: dict[str, Image]) -> Iterator[str]:
    workdir = tmp_path_factory.mktemp("swarm")
    registry = Registry(workdir / "data", workdir, {})
    client = Client(registry.host)
    for image in images.values():
        push_image(client, f"swarm/{image.name}", image)
    client.close()
    yield f"http://{registry.host}"
    registry.stop()


@pytest.fixture(scope="module")
def corrupted(images: dict[str, Image]) -> Iterator[Corrupted]:
    with corrupting(images["herd"]) as registry:
        yield registry


@pytest.fixture(scope="module")
def outcomes(
    host: str, corrupted: Corrupted, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    """What came of all runs, and of three that do not end well; most of the time Locust waits."""
    workdir = tmp_path_factory.mktemp("results")
    runs = {name: (host, *options.split()) for name, options in RUNS.items()}
    runs["corrupted"] = (corrupted.host, "--nodes", "3")
    runs["unseeded"] = (host, "--images", "herd,mysql", "--processes", "2")
    endless = "--processes 2 --shape steady --think-time 0.1 --duration 90"
    with ThreadPoolExecutor(len(runs) + 1) as threads:
        running = {
            name: threads.submit(play, workdir / f"{name}.json", *arguments)
            for name, arguments in runs.items()
        }
        running["ended"] = threads.submit(end_early, workdir / "ended.json", host, *endless.split())
        return {name: future.result() for name, future in running.items()}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_each_shape_ends_by_itself_without_a_failure(
    outcomes: dict[str, Outcome], name: str
) -> None:
    outcome = outcomes[name]
    assert outcome.code == 0, outcome.said
    assert outcome.results["complete"]
    assert outcome.results["failures"] == []
    assert (outcome.results["errors"], outcome.results["digest_mismatches"]) == (0, 0)
    assert outcome.results["client"]["cpu_s"] > 0
    assert "Traceback" not in outcome.said
    assert "spawn rate is very high" not in outcome.said


def test_each_node_of_a_herd_pulls_once_a_round_and_then_has_the_image(
    outcomes: dict[str, Outcome], images: dict[str, Image]
) -> None:
    results, image = outcomes["herd"].results, images["herd"]
    pulls = sorted((one["round"], one["node"], one["bytes"]) for one in results["pulls"])
    first = [(0, node, image.size_bytes) for node in range(30)]
    assert pulls == [*first, *((1, node, len(image.index)) for node in range(30))]
    assert results["time_to_image"]["count"] == 60
    assert results["time_to_image"]["last"] == max(one["seconds"] for one in results["pulls"])
    # A ping, an index, a manifest, a config and six layers; then a ping and the index.
    counts = {name: row["count"] for name, row in results["requests"].items()}
    assert counts == {"GET ping": 60, "GET manifest": 90, "GET blob": 210}


def test_a_run_reports_the_time_to_an_image_beside_the_requests(
    outcomes: dict[str, Outcome],
) -> None:
    said = outcomes["herd"].said
    assert any(line.split()[:3] == ["IMAGE", "swarm/herd", "60"] for line in said.splitlines())
    assert "time to image   p50 " in said


def test_processes_divide_the_nodes_and_lose_no_result(outcomes: dict[str, Outcome]) -> None:
    results = outcomes["rolling"].results
    for image in ("swarm/redis", "swarm/node"):
        nodes = sorted(one["node"] for one in results["pulls"] if one["image"] == image)
        assert nodes == [*range(7)]
    assert results["client"]["processes"] == 3
    assert results["requests"]["GET ping"]["count"] == 14


def test_a_node_that_keeps_layers_pulls_a_shared_base_once(
    outcomes: dict[str, Outcome], images: dict[str, Image]
) -> None:
    results = outcomes["rolling"].results
    redis, node = (images[name].platforms["linux/amd64"] for name in ("redis", "node"))
    shared = sum(blob.size for blob in set(redis.blobs) & set(node.blobs))
    assert shared > 0
    by_image = {one["image"]: one["bytes"] for one in results["pulls"]}
    assert by_image["swarm/redis"] == images["redis"].size_bytes
    assert by_image["swarm/node"] == images["node"].size_bytes - shared
    phases = results["time_to_image"]["by_phase"]
    assert [of_it["count"] for of_it in phases.values()] == [4, 4, 6]


def test_a_cold_round_begins_with_empty_caches(
    outcomes: dict[str, Outcome], images: dict[str, Image]
) -> None:
    pulled = [one["bytes"] for one in outcomes["cold"].results["pulls"]]
    assert pulled == [images["herd"].size_bytes] * 8


def test_steady_nodes_pull_while_others_list_and_probe(outcomes: dict[str, Outcome]) -> None:
    requests = outcomes["steady"].results["requests"]
    assert {one["node"] for one in outcomes["steady"].results["pulls"]} == {*range(5)}
    assert {"GET catalog", "GET tags", "HEAD manifest", "HEAD blob"} <= requests.keys()


def test_mixed_tells_pulls_with_pushes_from_those_without(outcomes: dict[str, Outcome]) -> None:
    results = outcomes["mixed"].results
    phases = results["time_to_image"]["by_phase"]
    assert list(phases) == ["quiet", "pushing"]
    assert all(of_it["count"] for of_it in phases.values())
    assert results["pushes"]["count"] > 0
    assert results["requests"]["PATCH upload"]["count"] > 0
    assert results["requests"]["GET catalog"]["errors"] == 0
    assert results["requests"]["HEAD blob"]["errors"] == 0  # there was never such a blob


def test_a_digest_that_is_wrong_fails_the_run_and_is_named(
    outcomes: dict[str, Outcome], corrupted: Corrupted
) -> None:
    outcome = outcomes["corrupted"]
    assert outcome.code == 1, outcome.said
    assert outcome.results["digest_mismatches"] == 3
    failures = outcome.results["failures"]
    assert sorted(line.partition(":")[0] for line in failures) == ["node 0", "node 1", "node 2"]
    assert all(corrupted.digest in line for line in failures)
    assert "3 digest mismatches" in outcome.said
    assert corrupted.digest in outcome.said.splitlines()[-2]


def test_a_run_without_its_images_says_in_its_last_line_how_to_seed(
    outcomes: dict[str, Outcome], host: str
) -> None:
    outcome = outcomes["unseeded"]
    seeding = f"python -m loadtests.seed --host {host} --images mysql"
    assert outcome.said.splitlines()[-1] == f"error: swarm/mysql is not there: {seeding}"
    assert (outcome.code, outcome.results) == (2, {})
    assert "Traceback" not in outcome.said


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_run_that_is_ended_keeps_its_results_and_leaves_no_process(
    outcomes: dict[str, Outcome],
) -> None:
    ended = outcomes["ended"]
    assert ended.code == 1, ended.said
    assert ended.said.splitlines()[-1] == "error: ended by SIGTERM"
    assert "Traceback" not in ended.said
    assert not ended.results["complete"]
    assert ended.results["pulls"]
    assert ended.results["failures"] == []
    assert len(ended.processes) == 3
    wait_until(lambda: not any(map(is_running, ended.processes)), "all are gone")


def ask(address: str, form: dict[str, str] | None = None) -> Any:
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(address, data, timeout=WAIT_S) as answer:
        return json.loads(answer.read())


def test_the_web_page_starts_a_run_shows_its_images_and_stops_it(host: str, tmp_path: Path) -> None:
    port = str(free_port())
    page = f"http://127.0.0.1:{port}"
    daemon = Daemon(command("--web-host", "127.0.0.1", "--web-port", port), tmp_path / "log", {})
    try:
        daemon.wait_until(lambda: ask(f"{page}/stats/requests")["state"] == "ready")
        form = {
            "host": host,
            "shape": "steady",
            "nodes": "3",
            "think_time": "0.1",
            "duration": "90",
        }
        assert ask(f"{page}/swarm", form)["success"]

        def shown() -> set[tuple[str, str]]:
            stats = ask(f"{page}/stats/requests")["stats"]
            return {(row["method"], row["name"]) for row in stats}

        wait_until(lambda: ("IMAGE", "swarm/herd") in shown(), "the image is shown")
        assert ask(f"{page}/stop", {"": ""})["success"]
        wait_until(lambda: "not taken to its end" in daemon.output(), "the run is summed up")
    finally:
        assert daemon.stop() == 1
    assert "Traceback" not in daemon.output()
