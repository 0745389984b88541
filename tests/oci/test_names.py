"""Names, tags and upload ids: the gates that no hostile text passes."""

import re
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastreg.oci.names import (
    MAX_NAME_CHARS,
    InvalidName,
    check_name,
    check_tag,
    is_name,
    is_tag,
    is_upload_id,
)

# The grammars as the distribution-spec prints them.
SPEC_NAME = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
SPEC_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"

HOSTILE = [
    "",
    ".",
    "..",
    "../etc/passwd",
    "a/../b",
    "a/./b",
    "a/..",
    "/a",
    "a/",
    "a//b",
    "a\\b",
    "a\0",
    "a\0b",
    "a\n",
    "\na",
    "a b",
    "a%2f..",
    "a%00",
    "a%2e%2e",
    "é",
    "a٣",
    "a²",
    "ａ",  # noqa: RUF001  a full-width letter is what is refused
    "a\u2028",
    "-a",
    ".a",
    "a?x",
    "a#x",
    "a:b",
    "a@sha256:aa",
]


@pytest.mark.parametrize("text", [*HOSTILE, "_a", "a_", "a___b", "a..b", "A", "a/_layers", "a/B"])
def test_what_is_no_repository_name_is_refused(text: str) -> None:
    assert not is_name(text)
    with pytest.raises(InvalidName):
        check_name(text)


@pytest.mark.parametrize("text", [t for t in HOSTILE if t not in ("a/b",)] + ["a/b", "a" * 129])
def test_what_is_no_tag_is_refused(text: str) -> None:
    assert not is_tag(text)
    with pytest.raises(InvalidName):
        check_tag(text)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a--b", "a__b", "a.b", "library/a/b-c", "a/0"])
def test_names_of_the_spec_are_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("tag", ["a", "_", "__", "1.0", "A-b_c.d", "latest", "a" * 128, "a.."])
def test_tags_of_the_spec_are_taken(tag: str) -> None:
    assert check_tag(tag) == tag


def test_a_name_may_be_as_long_as_the_limit_and_no_longer() -> None:
    longest = "a" * MAX_NAME_CHARS
    assert check_name(longest) == longest
    with pytest.raises(InvalidName, match="255"):
        check_name(longest + "a")


NEARLY = st.text("ab0._-/ABé٣\n\0%", max_size=12)


@given(st.one_of(NEARLY, st.text(max_size=20), st.from_regex(SPEC_NAME, fullmatch=True)))
@settings(max_examples=150, deadline=None)
def test_names_are_exactly_those_of_the_specs_grammar(text: str) -> None:
    expected = re.fullmatch(SPEC_NAME, text) is not None and len(text) <= MAX_NAME_CHARS
    assert is_name(text) == expected


@given(st.one_of(NEARLY, st.text(max_size=20), st.from_regex(SPEC_TAG, fullmatch=True)))
@settings(max_examples=150, deadline=None)
def test_tags_are_exactly_those_of_the_specs_grammar(text: str) -> None:
    assert is_tag(text) == (re.fullmatch(SPEC_TAG, text) is not None)


def test_an_endless_nearly_valid_name_is_refused_in_a_message_of_bounded_length() -> None:
    with pytest.raises(InvalidName) as refused:
        check_name("a-" * 500_000)
    assert len(str(refused.value)) < 600
    with pytest.raises(InvalidName) as refused:
        check_tag("." * 500_000)
    assert len(str(refused.value)) < 600


def test_an_upload_id_is_a_lower_case_uuid() -> None:
    for _ in range(10):
        assert is_upload_id(str(uuid.uuid4()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        str(uuid.UUID(int=0)).upper().replace("0", "A"),
        str(uuid.UUID(int=0)) + "\n",
        str(uuid.UUID(int=0)) + "/../x",
        str(uuid.UUID(int=0)).replace("-", ""),
        "{" + str(uuid.UUID(int=0)) + "}",
        str(uuid.UUID(int=0))[:-1] + "٣",
    ],
)
def test_what_is_no_upload_id_is_refused(text: str) -> None:
    assert not is_upload_id(text)
