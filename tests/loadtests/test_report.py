"""The page of a comparison: it needs nothing but itself, and says what the JSON says."""

from __future__ import annotations

import html
import json
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadtests.bench.ratios import number
from loadtests.compare import report
from loadtests.compare.pictures import ALL
from loadtests.compare.report import main, render
from tests.loadtests.samples import CONTENDERS, Contender, sample_results

NODES = (10, 200)
Results = dict[str, Any]


@pytest.fixture(scope="module")
def results() -> Results:
    local, cold, _, theirs, _ = CONTENDERS
    return sample_results(3, [local, cold, theirs], NODES, ["busybox"])


@pytest.fixture(scope="module")
def page(results: Results, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pictures are drawn in the tests that are about them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "draw", lambda picture: b"PNG" if picture.canvas else None)
        return render(results, tmp_path_factory.mktemp("report")).read_text()


class Page(HTMLParser):
    """Collects what a page refers to, and the cells of its tables."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.is_in_cell = False
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag in ("td", "th"):
            self.cells.append("")
            self.is_in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.is_in_cell = False

    def handle_data(self, data: str) -> None:
        if self.is_in_cell:
            self.cells[-1] += data.strip()


def small_results(contender: Contender = CONTENDERS[0]) -> Results:
    """Return results that make one picture."""
    results = sample_results(1, [contender], (10,), ["busybox"])
    results["runs"] = [run for run in results["runs"] if run["what"] == "images"]
    return results


def told(results: Results, out: Path) -> str:
    return html.unescape(render(results, out).read_text())


def test_the_page_refers_to_nothing_outside(page: str) -> None:
    read = Page(page)
    assert len(read.sources) == len(ALL)
    assert all(source.startswith("data:image/png;base64,") for source in read.sources)
    assert not {"script", "link", "iframe", "object"} & read.tags
    assert not re.search(r"url\(|@import|https?://", page)


def test_every_contender_stands_in_the_page(page: str, results: Results) -> None:
    cells = Page(page).cells
    assert all(each["name"] in cells for each in results["contenders"])


def test_a_contender_that_did_not_start_says_why(page: str) -> None:
    assert "docker-registry has no azure driver here (patched out)" in page


def test_a_cell_has_the_median_and_the_spread_of_the_rounds(page: str, results: Results) -> None:
    cells = Page(page).cells
    for nodes in NODES:
        times = [
            run["result"]["time_to_image"]["last"]
            for run in results["runs"]
            if (run["contender"], run["what"], run["nodes"]) == ("docker-registry", "nodes", nodes)
        ]
        times = times if statistics.median(times) >= 1 else [1000 * value for value in times]
        median, low, high = statistics.median(times), min(times), max(times)
        expected = f"{number(median)} ({number(low)}–{number(high)})"
        assert any(cell.startswith(expected) for cell in cells)


def test_the_bars_stand_first_with_what_was_measured(page: str) -> None:
    cells = Page(page).cells
    first = cells.index("last of 200 nodes, local disk")
    assert cells[first + 1 : first + 4] == [
        "≤ 0.8 × docker-registry's",
        "0.55 (0.53–0.60)",
        "✓ met",
    ]
    missed = cells.index("CPU a node, 500 nodes")
    assert cells[missed + 3] == "✗ missed"
    unknown = cells.index("p99 of pulls while pushes run")
    assert cells[unknown + 2 : unknown + 4] == ["–", "not measured"]


def test_the_page_says_how_to_measure_again(page: str) -> None:
    assert 'make swarm SWARM="--rounds 3"' in html.unescape(page)
    assert "702b197" in page


def test_a_run_that_the_client_held_back_is_marked(page: str) -> None:
    assert "fastreg: thundering-herd of 200 × herd; the first because a process was busy" in page
    assert any(cell.endswith("s†") or "s†\n" in cell for cell in Page(page).cells)


def test_a_name_is_text_and_never_markup(tmp_path: Path) -> None:
    name = "https://<script>alert(1)</script>.example:5000/$x_1^2$"
    other = Contender(name, "elsewhere", 1e9, 0.05, 1e7)
    content = render(small_results(other), tmp_path).read_text()
    assert "<script" not in content
    assert html.escape(name) in content
    assert all(source.startswith("data:") for source in Page(content).sources)


def test_nothing_at_all_is_a_page_too(tmp_path: Path) -> None:
    content = told({"machine": {}, "settings": {}, "contenders": [], "runs": []}, tmp_path)
    assert "make swarm" in content
    assert "No bars were computed." in content
    assert not list(tmp_path.glob("*.png"))


def test_a_comparison_that_was_ended_early_says_so(results: Results, tmp_path: Path) -> None:
    planned = len(results["runs"]) + 3
    page = render({"planned_runs": planned, "machine": results["machine"]}, tmp_path).read_text()
    assert f"ended early: {planned} runs were planned" in page


def test_a_failed_run_is_named_and_in_no_figure(tmp_path: Path) -> None:
    results = small_results()
    results["runs"][0] |= {"result": None, "error": "a log\nthe server died\n"}
    content = told(results, tmp_path)
    assert "fastreg: images, thundering-herd, 50 nodes, round 1: the server died" in content
    assert "No image was pulled by itself." in content


def test_a_kept_file_is_drawn_again(tmp_path: Path) -> None:
    kept = tmp_path / "swarm.json"
    kept.write_text(json.dumps(small_results()))
    done = CliRunner().invoke(main, [str(kept), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert done.output.strip() == str(tmp_path / "out" / "report.html")
    assert (tmp_path / "out" / "images.png").exists()
