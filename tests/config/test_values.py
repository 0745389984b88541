"""What the texts of a configuration mean."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastreg.config.values import (
    format_duration,
    format_size,
    parse_duration,
    parse_share,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0", timedelta()),
        ("168h", timedelta(days=7)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1.5h", timedelta(hours=1, minutes=30)),
        (".5s", timedelta(milliseconds=500)),
        ("1.s", timedelta(seconds=1)),
        ("-1m", timedelta(minutes=-1)),
        ("+2ms", timedelta(milliseconds=2)),
        ("3us", timedelta(microseconds=3)),
        ("3µs", timedelta(microseconds=3)),
        ("3μs", timedelta(microseconds=3)),
        ("1999ns", timedelta(microseconds=1)),
    ],
)
def test_durations_are_written_as_in_go(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "30", "1d", "h", ".s", "1h ", " 1h", "1H", "1h30", "1e3s", "--1s", "٣s", "1h\n"),
        *("9999999999h", "1" * 300 + "s", None, 30, True),
    ],
)
def test_what_go_does_not_take_for_a_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(days=-100_000), max_value=timedelta(days=100_000)))
def test_a_formatted_duration_is_read_as_the_same(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(alphabet="0123456789.hmsnuµ+-", max_size=20))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        parsed = parse_duration(text)
    except ValueError:
        parsed = timedelta()
    assert parse_duration(format_duration(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50GiB", 50 << 30),
        ("20GB", 20 * 10**9),
        ("1.5KiB", 1536),
        ("1TiB", 1 << 40),
        ("7B", 7),
        ("80%", 0.8),
        ("12.5%", 0.125),
    ],
)
def test_sizes_have_units_or_are_shares(text: str, size: float) -> None:
    assert parse_size(text) == size
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    "text", ["", "50", "0GiB", "0%", "101%", "-1GB", "1gb", "1 GB", "GB", "1e3GB", None, True, []]
)
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a size with its unit"):
        parse_size(text)


@given(st.integers(1, 1 << 49))
def test_a_formatted_size_is_read_as_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(("text", "share"), [("0", 0), ("1", 1), ("0.25", 0.25), (0.5, 0.5)])
def test_a_share_is_a_number_up_to_one(text: object, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["1.1", "-0.1", "nan", "50%", "", None, []])
def test_what_is_no_share_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a number of 0 to 1"):
        parse_share(text)
