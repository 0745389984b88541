"""What the benchmark makes of its measurements: counts, ratios, percentiles, the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtests.bench.content import CHUNK_BYTES, framed
from loadtests.bench.probe import percentile
from loadtests.bench.ratios import Bar, Line, number, ratios, spread
from loadtests.bench.reads import Totals, count_answers, parse_totals
from loadtests.bench.table import render, save, table
from loadtests.bench.wire import Answer, parse_head

MOST = Bar(1.05, "× nginx's CPU")
LEAST = Bar(3, "× docker-registry's", is_least=True)


@pytest.mark.parametrize(
    ("bar", "value", "is_met"),
    [(MOST, 1.05, True), (MOST, 1.051, False), (LEAST, 3, True), (LEAST, 2.99, False)],
)
def test_a_bar_is_met_up_to_its_limit(bar: Bar, value: float, is_met: bool) -> None:
    assert bar.is_met_by(value) is is_met


def test_the_median_of_the_rounds_decides() -> None:
    line = Line("work", MOST, [9.0, 1.0, 0.9])
    assert line.is_met
    assert line.measured == "1 (0.90–9)"


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratios([2, 30], [1, 10]) == [2, 3]
    with pytest.raises(ValueError, match="zip"):
        ratios([1, 2], [1])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.345, "0.34"), (1.05, "1.05"), (8.0, "8"), (13.74, "13.7"), (20000, "20,000")],
)
def test_a_number_has_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_single_value_has_no_spread() -> None:
    assert spread([2.5]) == "2.50"


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [(range(1, 101), 99, 99), (range(1, 201), 99, 198), ([7], 99, 7), ([3, 1, 2], 50, 2)],
)
def test_a_percentile_is_a_value_that_was_measured(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(list(values), percent) == expected


def test_the_totals_are_found_in_what_wrk_prints() -> None:
    output = "Running 1h test @ http://127.0.0.1:1/\n  64 connections\ntotals 10 4200 2500000 0\n"
    assert parse_totals(output) == Totals(10, 4200, 2.5, 0)
    with pytest.raises(RuntimeError, match="no totals"):
        parse_totals("unable to connect")


def test_answers_under_way_count_by_their_share() -> None:
    assert count_answers(Totals(10, 1050, 1.0, 0), 100, connections=2) == 10.5


@pytest.mark.parametrize(
    "totals",
    [
        Totals(10, 1050, 1.0, errors=1),
        Totals(10, 950, 1.0, errors=0),
        Totals(10, 1250, 1.0, errors=0),
        Totals(0, 100, 1.0, errors=0),
    ],
)
def test_errors_and_answers_of_another_length_do_not_count(totals: Totals) -> None:
    with pytest.raises(RuntimeError, match="wrong answers"):
        count_answers(totals, 100, connections=2)


def test_a_head_is_taken_apart() -> None:
    head = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-LENGTH:  17\r\n\r\n"
    assert parse_head(head + b"body") == Answer(200, len(head), 17, 4)


def test_a_framed_body_has_chunks_of_the_usual_size() -> None:
    content = b"x" * (CHUNK_BYTES + 10)
    first, rest = b"8000\r\n" + content[:CHUNK_BYTES] + b"\r\n", b"a\r\n" + b"x" * 10 + b"\r\n"
    assert framed(content) == first + rest


def test_the_table_is_markdown() -> None:
    lines = [Line("GET", MOST, [1.0]), Line("push: speed", LEAST, [1.5, 2, 2.5], "slow disk")]
    assert table(lines) == [
        "| work        | bar                     | measured (median, min–max) | met    |",
        "|-------------|-------------------------|----------------------------|--------|",
        "| GET         | ≤ 1.05 × nginx's CPU    | 1                          | yes    |",
        "| push: speed | ≥ 3 × docker-registry's | 2 (1.50–2.50)              | **no** |",
    ]
    text = render(lines, {"cores": "2", "kernel": "6.1"})
    assert "- push: speed: slow disk" in text
    assert text.endswith("Measured on cores: 2; kernel: 6.1.")


def test_what_is_saved_holds_every_round(tmp_path: Path) -> None:
    path = tmp_path / "results" / "bench.json"
    save(path, [Line("GET", MOST, [1.0, 2.0])], {"cores": "2"}, {"GET: CPU": [3.0, 4.0]})
    saved = json.loads(path.read_text())
    assert saved["machine"] == {"cores": "2"}
    assert saved["raw"] == {"GET: CPU": [3.0, 4.0]}
    [line] = saved["lines"]
    assert (line["values"], line["median"], line["is_met"]) == ([1.0, 2.0], 1.5, False)
