"""The comparison's own logic: which runs there are, in which order, and what is made of them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loadtests.bench.content import Store, blob_key
from loadtests.bench.ratios import Line
from loadtests.bench.servers import nginx_config
from loadtests.compare import bars
from loadtests.compare.contenders import (
    CONTENDERS,
    FASTREG_COLD,
    FASTREG_LOCAL,
    PEER,
    PEER_ON_AZURE,
    PHYSICAL_LIMIT,
    elsewhere,
    from_url,
)
from loadtests.compare.drop import drop
from loadtests.compare.matrix import FULL, Case, Settings, cases, turns
from loadtests.compare.results import Comparison, command, told
from loadtests.compare.runs import Run, compact, complaint
from loadtests.compare.store import files
from loadtests.compare.watch import Sample, Watch, between
from loadtests.images import catalog

HERD_OF_200 = ("nodes", "thundering-herd", "herd", 200)
MIXED = ("mixed", "mixed", "herd", 40)


def a_run(contender: str, number: int, case: Sequence[Any], last_s: float, **more: Any) -> Run:
    times = {"count": 200, "p50": last_s / 2, "p99": last_s, "last": last_s}
    result = {
        "time_to_image": times,
        "complete": True,
        "errors": 0,
        "failures": [],
        "client": {"bound": False},
    }
    what, shape, image, nodes = case
    run = Run(contender, number, what, shape, image, nodes, 100, result, server_cpu_s=1.0)
    for name, value in more.items():
        setattr(run, name, value)
    return run


def line_of(runs: Sequence[Run], work: str) -> Line:
    return next(line for line in bars.lines(runs) if line.work == work)


def test_every_contender_takes_its_turn_at_a_case_before_the_next_case_begins() -> None:
    work = cases(Settings(parts=("images",), images=("redis", "node")))
    runs = list(turns(work, CONTENDERS, rounds=2))
    assert len(runs) == 2 * len(work) * len(CONTENDERS)
    for start in range(0, len(runs), len(CONTENDERS)):
        one_case = runs[start : start + len(CONTENDERS)]
        assert len({(number, case) for number, case, _ in one_case}) == 1
        assert {contender for _, _, contender in one_case} == set(CONTENDERS)


def test_everybody_is_the_first_in_turn() -> None:
    herd = [Case(*HERD_OF_200)]
    two = (FASTREG_LOCAL, PEER)
    first = [contender for _, _, contender in turns(herd, two, rounds=4)][::2]
    assert first == [FASTREG_LOCAL, PEER, FASTREG_LOCAL, PEER]


def test_the_full_matrix_has_every_part() -> None:
    found = cases(FULL)
    assert {case.what for case in found} == {"images", "nodes", "shapes", "mixed"}
    assert len([case for case in found if case.what == "images"]) == 6
    herds = [case.nodes for case in found if case.what == "nodes"]
    assert herds == [1, 10, 50, 100, 200, 500]


def test_nobody_takes_a_turn_where_nobody_is_ready() -> None:
    assert list(turns([Case(*HERD_OF_200)], [], rounds=2)) == []


def test_a_contender_is_spared_what_it_cannot_do() -> None:
    assert not Case(*MIXED).is_for(PHYSICAL_LIMIT)
    assert not Case(*HERD_OF_200).is_for(PEER_ON_AZURE)
    alone = Case("nodes", "thundering-herd", "herd", 1)
    assert [one for one in CONTENDERS if alone.is_for(one)] == [FASTREG_COLD]


def test_the_herds_bars_are_ratios_of_one_round() -> None:
    runs = [
        a_run("fastreg", 0, HERD_OF_200, 7.0, server_cpu_s=2.0),
        a_run("docker-registry", 0, HERD_OF_200, 10.0, server_cpu_s=8.0),
        a_run("fastreg", 1, HERD_OF_200, 18.0, server_cpu_s=3.0),
        a_run("docker-registry", 1, HERD_OF_200, 20.0, server_cpu_s=5.0),
        a_run("fastreg", 2, HERD_OF_200, 6.0),
        a_run("docker-registry", 2, HERD_OF_200, 1.0, result=None, error="crashed"),
    ]
    last = line_of(runs, "herd of 200 nodes: the last")
    assert list(last.values) == [0.7, 0.9]
    assert last.is_met
    cpu = line_of(runs, "herd of 200 nodes: registry CPU")
    assert list(cpu.values) == [0.25, 0.6]
    assert list(line_of(runs, "herd of 200 nodes: failures").values) == [0]


def test_a_run_that_came_to_nothing_is_a_failure() -> None:
    runs = [a_run("fastreg", 0, HERD_OF_200, 1.0, result=None, error="crashed")]
    failures = line_of(runs, "herd of 200 nodes: failures")
    assert list(failures.values) == [1]
    assert not failures.is_met


def test_a_failure_in_one_round_is_one_whatever_the_median() -> None:
    runs = [a_run("fastreg", number, HERD_OF_200, 1.0) for number in range(3)]
    runs[1].measured["failures"] = ["node 1: herd: cut"]
    failures = line_of(runs, "herd of 200 nodes: failures")
    assert list(failures.values) == [1]
    assert not failures.is_met


def test_a_run_that_lost_a_process_is_a_failure_though_no_request_failed() -> None:
    lost = "failed: lost a process that loads the registry: b"
    herd, pushes = (a_run("fastreg", 0, case, 1.0, error=lost) for case in (HERD_OF_200, MIXED))
    pushes.measured.update(complete=False, pushes={"count": 0, "failed": 0})
    assert list(line_of([herd], "herd of 200 nodes: failures").values) == [1]
    assert list(line_of([pushes], "pushes during pulls: failures").values) == [1]


def test_every_pull_that_failed_counts_once() -> None:
    herd = a_run("fastreg", 0, HERD_OF_200, 1.0, error="failed: 2 of 1200 GET blob")
    herd.measured.update(errors=2, failures=["node 1: herd: cut", "node 2: herd: cut"])
    assert list(line_of([herd], "herd of 200 nodes: failures").values) == [2]


def test_a_cold_herd_may_take_a_herd_and_a_half_and_one_cold_pull() -> None:
    alone = ("nodes", "thundering-herd", "herd", 1)
    runs = [
        a_run("fastreg", 0, HERD_OF_200, 4.0),
        a_run("fastreg, Azure cold", 0, HERD_OF_200, 8.0, egress_bytes=105),
        a_run("fastreg, Azure cold", 0, alone, 2.0, egress_bytes=103),
    ]
    assert list(line_of(runs, "cold herd of 200 nodes: the last").values) == [1.0]
    assert list(line_of(runs, "cold herd of 200 nodes: sent by Azure").values) == [1.05]


def test_cpu_a_node_is_compared_from_the_smallest_herd_to_the_largest() -> None:
    few, many = (("nodes", "thundering-herd", "herd", nodes) for nodes in (10, 500))
    runs = [
        a_run("fastreg", 0, few, 1.0, server_cpu_s=0.1),
        a_run("fastreg", 0, many, 1.0, server_cpu_s=6.0),
    ]
    growth = line_of(runs, "registry CPU a node, 500 nodes")
    assert list(growth.values) == pytest.approx([1.2])
    assert not growth.is_met


def test_pulls_during_pushes_are_compared_with_those_before_them() -> None:
    run = a_run("fastreg", 0, MIXED, 1.0)
    run.measured["time_to_image"]["by_phase"] = {"quiet": {"p99": 2.0}, "pushing": {"p99": 3.0}}
    run.measured["pushes"] = {"count": 8, "failed": 1}
    assert list(line_of([run], "pulls during pushes: p99").values) == [1.5]
    assert not line_of([run], "pushes during pulls: failures").is_met
    run.measured["pushes"] = {"count": 0, "failed": 0}
    assert bars.lines([run]) == []


def test_nothing_is_said_about_what_was_not_run() -> None:
    assert bars.lines([]) == []
    alone = a_run("fastreg, Azure cold", 0, ("nodes", "thundering-herd", "herd", 1), 1.0)
    assert bars.lines([alone]) == []


@pytest.mark.parametrize(("planned", "is_complete"), [(0, False), (1, True), (2, False)])
def test_a_comparison_knows_whether_it_was_ended_early(planned: int, is_complete: bool) -> None:
    comparison = Comparison({}, FULL, runs=[a_run("fastreg", 0, HERD_OF_200, 1.0)], planned=planned)
    assert comparison.is_complete == is_complete


def test_the_json_has_a_line_for_each_run_and_says_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "results" / "swarm.json"
    comparison = Comparison({"cores": "2"}, FULL, [{"name": "fastreg"}])
    comparison.runs += [
        a_run("fastreg", 0, HERD_OF_200, 1.23456789),
        a_run("nginx", 0, HERD_OF_200, 1.0, result=None, error="crashed\nbadly"),
    ]
    comparison.save(path)
    saved = json.loads(path.read_text())
    assert saved["runs"][0]["result"]["time_to_image"]["last"] == 1.2346
    assert saved["runs"][1]["error"] == "crashed\nbadly"
    assert saved["settings"]["nodes"] == [10, 50, 100, 200, 500]
    assert saved["bars"] == [
        {
            "name": "herd of 200 nodes: failures",
            "bar": "≤ 0 failures",
            "median": 0,
            "low": 0,
            "high": 0,
            "is_met": True,
        }
    ]
    assert told(comparison.runs[1]).endswith("nginx: badly")


def test_of_the_pulls_only_their_times_are_kept() -> None:
    pulls = [{"seconds": 1.5, "error": None}, {"seconds": 9.0, "error": "cut"}]
    assert compact({"pulls": pulls, "errors": 1}) == {"errors": 1, "pull_seconds": [1.5]}


def test_a_complaint_names_the_requests_and_the_pulls_that_failed() -> None:
    requests = {"GET blob": {"count": 9, "errors": 2}, "GET ping": {"count": 9, "errors": 0}}
    result = {"requests": requests, "failures": ["node 1: herd: cut"], "error": None}
    assert complaint(result) == "failed: 2 of 9 GET blob; node 1: herd: cut"
    assert complaint(result | {"error": "ended early"}).startswith("failed: ended early; 2 of 9")


def test_the_command_that_is_kept_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = ["--registry", "https://me:a%20s@ecret@one:5000", "--registry=http://me:secret@two"]
    monkeypatch.setattr("sys.argv", ["compare", *urls, "--part", "nodes"])
    said = command().removeprefix("make swarm SWARM=")
    assert said == "'--registry https://one:5000 --registry=http://two --part nodes'"


def test_credentials_of_a_registrys_url_are_not_in_its_name() -> None:
    contender = from_url("https://me:a%20secret@registry.example:5000")
    assert contender.name == "https://registry.example:5000"
    running = elsewhere(contender)
    assert (running.user, running.password) == ("me", "a secret")


def test_nginx_answers_all_that_an_image_consists_of_as_a_registry_would(tmp_path: Path) -> None:
    store = Store(tmp_path)
    [image] = catalog(0.001, ["busybox"])
    manifests = image.platforms.values()
    digests = [image.index_digest, *(manifest.digest for manifest in manifests)]
    digests += [blob.digest for manifest in manifests for blob in manifest.blobs]
    for digest in digests:
        path = tmp_path / blob_key(digest)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"content")
    store.published = {published.targets[0]: published for published in files(image, store)}
    config = nginx_config(tmp_path, tmp_path, "127.0.0.1:1234", 2, store)
    assert "location = /v2/swarm/busybox/manifests/latest {" in config
    for digest in digests:
        assert f"/{digest} {{" in config
    assert "default_type application/vnd.oci.image.index.v1+json;" in config
    assert "default_type application/vnd.oci.image.manifest.v1+json;" in config


def test_a_process_is_watched_from_begin_to_end() -> None:
    with Watch(os.getpid()) as watch:
        sum(range(200_000))
    assert watch.cpu_since(watch.samples[0].at_s) > 0
    assert watch.samples[0].at_s < watch.samples[-1].at_s
    assert all(sample.rss_bytes > 1 << 20 for sample in watch.samples)


def test_what_a_server_takes_before_the_nodes_begin_does_not_count() -> None:
    watch = Watch(os.getpid())
    taken = {100.0: 0.0, 100.2: 0.5, 100.4: 0.75, 100.6: 2.0}
    watch.samples = [Sample(at_s, cpu_s, 1) for at_s, cpu_s in taken.items()]
    assert watch.cpu_since(100.3) == 1.5


def test_dropping_what_the_kernel_holds_leaves_the_files_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "below" / "data"
    path.parent.mkdir()
    path.write_bytes(bytes(100_000))
    drop(tmp_path)
    assert path.read_bytes() == bytes(100_000)


def test_samples_are_counted_from_the_moment_when_the_nodes_began() -> None:
    samples = [Sample(float(at_s), cpu_s=at_s / 10, rss_bytes=1) for at_s in range(100, 110)]
    shown = between(samples, 102.25, 104.75)
    assert [sample.at_s for sample in shown] == [-0.25, 0.75, 1.75, 2.75]
    assert shown[-1].cpu_s == 10.5
