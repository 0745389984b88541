"""Digests: what is one, and what is refused at the gate."""

import hashlib

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from fastreg.oci.digest import HEX_LENGTHS, Digest, InvalidDigest, check_algorithm

HEX = "0123456789abcdef"


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("sha256", hashlib.sha256(b"fastreg").hexdigest()),
        ("sha512", hashlib.sha512(b"fastreg").hexdigest()),
        ("blake3", blake3(b"fastreg").hexdigest()),
    ],
)
def test_a_digest_of_bytes_is_that_of_its_algorithm(algorithm: str, expected: str) -> None:
    assert str(Digest.of(b"fastreg", algorithm)) == f"{algorithm}:{expected}"


@given(st.sampled_from(sorted(HEX_LENGTHS)), st.data())
@settings(max_examples=60, deadline=None)
def test_every_well_formed_digest_is_read_and_spelled_the_same(
    algorithm: str, data: st.DataObject
) -> None:
    length = HEX_LENGTHS[algorithm]
    text = f"{algorithm}:{data.draw(st.text(HEX, min_size=length, max_size=length))}"
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        "a" * 64,
        ":" + "a" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "a" * 128,
        "sha512:" + "a" * 64,
        "blake3:" + "a" * 128,
        "sha256:" + "A" * 64,
        "SHA256:" + "a" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "a" * 63 + "\n",
        "sha256:" + "a" * 64 + "\n",
        "sha256:" + "a" * 63 + "\0",
        "sha256:" + "a" * 63 + "٣",
        "sha256:" + "a" * 63 + "ａ",  # noqa: RUF001  a full-width letter is what is refused
        "sha256: " + "a" * 63,
        " sha256:" + "a" * 64,
        "sha256:" + "../" * 21 + "a",
        "sha256+b64:" + "a" * 64,
        "sha256::" + "a" * 63,
        "md5:" + "a" * 32,
        "sha384:" + "a" * 96,
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_text_gets_past_the_gate_in_another_spelling(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except InvalidDigest:
        return
    assert str(digest) == text
    assert text.isascii()


def test_the_message_for_an_unknown_algorithm_names_the_known_ones_and_stays_short() -> None:
    with pytest.raises(InvalidDigest, match=r"md5.*sha256, sha512, blake3"):
        check_algorithm("md5")
    with pytest.raises(InvalidDigest) as refused:
        Digest.parse("x" * 10_000 + ":aa")
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("algorithm", sorted(HEX_LENGTHS))
def test_the_digest_of_nothing_is_known_for_what_it_is(algorithm: str) -> None:
    assert Digest.of(b"", algorithm).is_of_nothing
    assert not Digest.of(b"\0", algorithm).is_of_nothing


def test_a_digest_of_nothing_under_another_algorithm_is_a_digest_of_something() -> None:
    assert not Digest("blake3", Digest.of(b"").hex).is_of_nothing


def test_digests_sort_as_their_text_does() -> None:
    digests = [Digest.of(bytes([n]), a) for n in range(20) for a in HEX_LENGTHS]
    assert [str(d) for d in sorted(digests)] == sorted(str(d) for d in digests)
