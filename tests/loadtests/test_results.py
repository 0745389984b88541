"""The results of Locust runs: added up over processes, made into figures, judged."""

from __future__ import annotations

import json
import random

import pytest

from loadtests.swarm.load import Load, Meter, judge
from loadtests.swarm.results import Ledger, Pull, Push, Requests, failures, figures, spread
from loadtests.swarm.summary import summary


def pull(node: int, seconds: float, error: str | None = None, **traits: object) -> Pull:
    values = {"image": "swarm/herd", "round": 0, "phase": "herd", "begun_s": 0.0, "bytes": 100}
    return Pull(node=node, seconds=seconds, error=error, **(values | traits))  # type: ignore[arg-type]


def test_percentiles_are_times_that_were_measured() -> None:
    assert spread(range(1, 201)) == {"count": 200, "p50": 100, "p95": 190, "p99": 198, "last": 200}
    assert spread([3.0]) == {"count": 1, "p50": 3.0, "p95": 3.0, "p99": 3.0, "last": 3.0}
    assert spread([]) == {"count": 0}


def test_times_of_requests_are_kept_within_a_percent() -> None:
    random.seed(1)
    times = [random.lognormvariate(-5, 2) for _ in range(2000)]
    requests = Requests()
    for seconds in times:
        requests.add(seconds, 10, is_error=False)
    exact = spread(times)
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert requests.percentile_s(share) == pytest.approx(exact[name], rel=0.011)
    assert (requests.count, requests.bytes, requests.max_s) == (2000, 20_000, max(times))


def told(node: int) -> Ledger:
    ledger = Ledger(pulls=[pull(node, 1.0 + node)], loads={f"p{node}": Load("m", 2, 1.0, 0.5)})
    ledger.count_request("GET blob", 0.01 * (1 + node), 50, is_error=node == 1)
    return ledger


def test_what_processes_tell_is_added_up_and_told_once() -> None:
    whole, parts = Ledger(), [told(0), told(1)]
    for part in parts:
        whole.merge(Ledger.of(part.take()))
        whole.merge(Ledger.of(part.take()))
    assert [one.node for one in whole.pulls] == [0, 1]
    assert set(whole.loads) == {"p0", "p1"}
    blobs = whole.requests["GET blob"]
    assert (blobs.count, blobs.errors, blobs.bytes) == (2, 1, 100)
    assert sum(blobs.classes.values()) == 2


def test_figures_count_what_came_and_time_what_was_complete() -> None:
    ledger = Ledger(pulls=[pull(0, 2.0, image="a"), pull(1, 4.0), pull(2, 9.0, "reset", bytes=0)])
    found = figures(ledger, 4.0)
    times = found["time_to_image"]
    assert (times["count"], times["last"]) == (2, 4.0)
    assert {name: of_it["last"] for name, of_it in times["by_image"].items()} == {
        "a": 2.0,
        "swarm/herd": 4.0,
    }
    assert (found["bytes"], found["bytes_per_s"]) == (200, 50.0)
    assert found["failures"] == ["node 2: swarm/herd: reset"]
    assert json.loads(json.dumps(found)) == found


def test_a_mismatch_is_named_first_with_its_node() -> None:
    ledger = Ledger(
        pulls=[pull(1, 1.0, "reset"), pull(7, 1.0, "not sha256:ab", is_mismatch=True)],
        pushes=[Push(2, "whole", 0.0, 1.0, 0, "refused")],
    )
    assert failures(ledger) == [
        "node 7: swarm/herd: not sha256:ab",
        "node 1: swarm/herd: reset",
        "pusher 2: whole: refused",
    ]
    assert figures(ledger, 1.0)["digest_mismatches"] == 1


def test_pulls_before_and_during_pushes_are_told_apart() -> None:
    pulls = [pull(0, 1.0, phase="quiet"), pull(0, 3.0, phase="pushing")]
    by_phase = figures(Ledger(pulls=pulls), 1.0)["time_to_image"]["by_phase"]
    assert {phase: times["p99"] for phase, times in by_phase.items()} == {
        "quiet": 1.0,
        "pushing": 3.0,
    }


@pytest.mark.parametrize(
    ("loads", "is_bound", "why"),
    [
        ([Load("m", 2, 10, 9.0, 0, 12)], True, "a process was busy for 90% of the time"),
        ([Load("m", 2, 10, 9.0, 0, 12)], True, "--processes adds more"),
        ([Load("m", 2, 10, 2.0, 7, 12)], True, "waited for a core for 70%"),
        ([Load("m", 2, 10, 5.4, 4.6, 20)], True, "the machine has no more cores"),
        ([Load("m", 2, 10, 5, 0, 20), Load("m", 2, 10, 6, 0, 20)], True, "55% of it by the client"),
        ([Load("m", 2, 10, 4, 0, 20), Load("n", 2, 10, 8, 0, 9)], False, "20% of it by the client"),
        ([Load("m", 2, 0.1, 0, 0, 0, late_s=0.3)], True, "a process began 0.30 s late"),
        ([Load("m", 2, 10, 8, 0, 12)], False, "its busiest process was busy for 80%"),
        ([Load("m", 2, 0.4, 0.4, 0, 0.8)], False, "less than 0.5 s tells nothing"),
        ([], False, "less than 0.5 s tells nothing"),
    ],
)
def test_a_run_that_the_client_bound_says_so(loads: list[Load], is_bound: bool, why: str) -> None:
    found = judge(loads, 10)
    assert found["bound"] is is_bound
    assert why in found["why"]
    assert found["cpu_s"] == sum(load.cpu_s for load in loads)


def test_a_meter_takes_what_the_process_took() -> None:
    meter = Meter()
    sum(range(200_000))
    spent = meter.spent()
    assert 0 < spent.cpu_s <= spent.seconds + 0.05
    assert spent.cores >= 1
    assert spent.waited_s >= 0


def test_the_summary_shows_the_last_node_the_mismatches_and_a_bound_client() -> None:
    ledger = Ledger(
        pulls=[pull(0, 1.5), pull(1, 1.0, "not sha256:ab", is_mismatch=True)],
        loads={"local": Load("m", 2, 1.0, 0.95, 0, 1)},
    )
    head = {"shape": "cold", "nodes": 2, "rounds": 1, "images": ["swarm/herd"], "verify": "sha256"}
    text = "\n".join(summary({**head, "complete": True, **figures(ledger, 1.0)}))
    assert "last   1.500 s" in text
    assert "1 digest mismatches" in text
    assert "node 1: swarm/herd: not sha256:ab" in text
    assert "CLIENT-BOUND: a process was busy for 95% of the time" in text
