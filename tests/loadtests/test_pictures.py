"""The pictures of a comparison: what they say, and how much they weigh."""

from __future__ import annotations

import io
import itertools
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from loadtests.bench.ratios import number
from loadtests.compare.drawing import Palette, Picture, short, spread_out
from loadtests.compare.figures import Figure, Results, Run, cores_over_time, in_time, usual
from loadtests.compare.pictures import ALL, draw, make
from tests.loadtests.samples import CONTENDERS, NODES, sample_results

NAMES = ("images", "nodes", "shapes", "usage", "cpu", "egress", "latency", "mixed")
Pictures = dict[str, Picture]


@pytest.fixture(scope="module")
def results() -> Results:
    return Results(sample_results())


@pytest.fixture(scope="module")
def pictures(results: Results) -> Pictures:
    return {picture.name: picture for picture in make(results)}


def values(results: Results, contender: str, nodes: int) -> list[Run]:
    wanted = (contender, "nodes", nodes)
    return [r for r in results.runs if (r["contender"], r["what"], r["nodes"]) == wanted]


def test_every_picture_is_made(pictures: Pictures) -> None:
    assert tuple(pictures) == NAMES
    assert len(pictures) == len(ALL)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_small_and_sharp(name: str, pictures: Pictures) -> None:
    png = draw(pictures[name])
    assert png is not None
    assert len(png) <= 80 * 1024
    assert Image.open(io.BytesIO(png)).width == 1680


def test_the_title_says_what_the_last_node_waited(pictures: Pictures, results: Results) -> None:
    ours, theirs = (
        [run["result"]["time_to_image"]["last"] for run in values(results, name, 200)]
        for name in ("fastreg", "docker-registry")
    )
    took = in_time(statistics.median(ours))
    ratio = number(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)))
    expected = f"200 nodes have the image in {took}: {ratio} × docker-registry's time"
    assert pictures["nodes"].title == expected


def test_the_table_has_the_cpu_of_a_node(pictures: Pictures, results: Results) -> None:
    table = pictures["cpu"].table
    assert table is not None
    row = next(row for row in table.rows if row[0] == "fastreg")
    for cell, nodes in zip(row[1:], NODES, strict=True):
        cpu = [1000 * run["server_cpu_s"] / nodes for run in values(results, "fastreg", nodes)]
        shown = (number(statistics.median(cpu)), number(min(cpu)), number(max(cpu)))
        assert cell.rstrip("†") == "{} ({}–{}) ms".format(*shown)


def test_the_table_has_the_times_of_requests(pictures: Pictures, results: Results) -> None:
    table = pictures["latency"].table
    assert table is not None
    assert list(table.header) == ["manifest / blob", "p50", "p95", "p99", "max"]
    row = next(row for row in table.rows if row[0] == "nginx")
    kinds = ("GET manifest by tag", "GET blob")
    runs = values(results, "nginx", 200)
    taken = [
        statistics.median(r["result"]["requests"][kind]["p99_ms"] for r in runs) for kind in kinds
    ]
    manifest, blob = row[3].splitlines()
    assert manifest == f"{number(taken[0])} ({number(taken[0])}–{number(taken[0])}) ms"
    assert blob.startswith(f"{number(taken[1] / 1000)} (")


def test_the_account_is_told_in_images(pictures: Pictures, results: Results) -> None:
    picture = pictures["egress"]
    assert picture.table is not None
    assert [row[0] for row in picture.table.rows] == ["fastreg, Azure cold", "fastreg, Azure warm"]
    runs = values(results, "fastreg, Azure cold", 200)
    sent = statistics.median(run["egress_bytes"] / run["image_bytes"] for run in runs)
    assert picture.title.endswith(f"Azure sends the image {number(sent)} times")
    assert picture.notes == [
        "docker-registry, Azure: docker-registry has no azure driver here (patched out)"
    ]


def test_pulls_during_pushes_are_compared_with_those_of_the_same_run(pictures: Pictures) -> None:
    table = pictures["mixed"].table
    assert table is not None
    assert [row[0] for row in table.rows] == [
        "fastreg",
        "fastreg, Azure cold",
        "fastreg, Azure warm",
        "docker-registry",
    ]
    assert [row[3] for row in table.rows] == ["1.40 (1.40–1.40) ×"] * 4


def test_a_contender_has_one_colour_and_no_two_share_it() -> None:
    names = ["fastreg", "docker-registry", "nginx", "https://a.example", "https://b.example"]
    palette = Palette(names)
    assert len({palette.colour(name) for name in names}) == len(names)
    assert palette.colour("fastreg") == Palette(["nginx", "fastreg"]).colour("fastreg")


def test_names_that_would_lie_on_one_another_are_moved_apart() -> None:
    placed = spread_out([0.5, 0.51, 0.1, 0.49], 0.06)
    ordered = sorted(placed)
    assert all(high - low >= 0.0599 for low, high in itertools.pairwise(ordered))
    assert placed[2] == 0.1
    assert placed[3] < placed[0] < placed[1]


def test_a_url_is_cut_to_what_fits() -> None:
    assert short("https://registry.example:5000/") == "registry.example:5000"
    assert len(short("https://" + "a" * 300)) == 26


def test_a_figure_is_told_in_its_unit() -> None:
    assert Figure([1.5, 1.25, 2.0]).time() == "1.50 (1.25–2) s"
    assert Figure([0.0125], is_bound=True).time() == "12.5 ms†"
    assert Figure([1250.0]).time(0.001) == "1.25 s"
    assert in_time(0.5) == "500 ms"


def test_two_hundred_nodes_are_the_usual_ones() -> None:
    assert usual([10, 200, 500]) == 200
    assert usual([10, 50]) == 50
    assert usual([]) == 0


def test_cores_are_the_cpu_between_two_samples() -> None:
    samples = [{"at_s": 0.0, "cpu_s": 1.0}, {"at_s": 0.5, "cpu_s": 2.0}, {"at_s": 1, "cpu_s": 2.0}]
    assert cores_over_time({"samples": samples}) == ([0.5, 1], [2.0, 0.0])


def without(what: str) -> Callable[[dict[str, Any]], None]:
    def change(results: dict[str, Any]) -> None:
        results["runs"] = [run for run in results["runs"] if run["what"] != what]

    return change


def fail_all(results: dict[str, Any]) -> None:
    for run in results["runs"]:
        run |= {"result": None, "samples": [], "server_cpu_s": None, "error": "did not start"}


def forget_samples(results: dict[str, Any]) -> None:
    for run in results["runs"]:
        run |= {"samples": [], "server_cpu_s": None}


def forget_requests(results: dict[str, Any]) -> None:
    for run in results["runs"]:
        run["result"]["requests"] = {}


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (without("images"), "No image was pulled by itself."),
        (without("nodes"), "No herd was measured."),
        (without("shapes"), "No shapes were compared."),
        (without("mixed"), "No pulls were measured beside pushes."),
        (forget_samples, "No server was watched."),
        (forget_requests, "No requests were counted."),
        (fail_all, "No herd was measured."),
        (lambda results: None, "No contender had Azure behind it."),
    ],
)
def test_what_is_missing_leaves_a_note(change: Callable[[dict[str, Any]], None], note: str) -> None:
    content = sample_results(1, CONTENDERS[:1], (10, 50), ["busybox"])
    change(content)
    notes = [line for picture in make(Results(content)) for line in picture.notes]
    assert any(note in line for line in notes)


def test_one_node_alone_is_no_herd() -> None:
    content = sample_results(1, CONTENDERS[1:2], (1, 10), ["busybox"])
    assert Results(content).options("nodes", what="nodes") == [10]
