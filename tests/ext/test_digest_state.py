"""The stored state: Go's form byte by byte, and what is refused."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastreg.fastlane import Sha256, Sha512

Digest = Sha256 | Sha512
MAX_LENGTH = 2**61 - 1

INITIAL_256 = "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"
INITIAL_512 = (
    "6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1"
    "510e527fade682d19b05688c2b3e6c1f1f83d9abfb41bd6b5be0cd19137e2179"
)

# 6,565,544,823 bytes of 00 01 … ff 00 …: a length of more than 32 bits, and with more than
# 32 bits of bits. The words are what Go's crypto/sha512 and hashlib arrive at.
LARGE_LENGTH = 6_565_544_823
LARGE_256 = (
    "73686103b836c02c11f278f46948bdd1c23ca4c59d8f062865a711046a1c04488a84b017",
    bytes(range(0x40, 0x77)),
    "e27005c86f96be474c8c45fbbc77969cb6b0bb31b7a98625e5b42dbcb2bf10d5",
)
LARGE_512 = (
    "73686107ceb7650f0fe1725d23076f4a212e7b3542e4143091dd0061e1b34526"
    "b9bb074a9f5e9f03cdba44964880b0589ddecab80cf73ad5e627b99366dd41f07ee10214",
    bytes(range(0x77)),
    "12d612357a1dbc74a28883dff79b83e7d2b881ae40d7a67fd7305490bc8a641c"
    "d1ce9ece598192080d6e9ac7e75d5988567a58a9812991299eb99a04ecb69523",
)
BLOCK = {Sha256: 64, Sha512: 128}


def written_state(head: str, block: int, held: bytes, length: int) -> bytes:
    return bytes.fromhex(head) + held.ljust(block, b"\0") + length.to_bytes(8, "big")


@pytest.mark.parametrize(
    ("algorithm", "head"), [(Sha256, "73686103" + INITIAL_256), (Sha512, "73686107" + INITIAL_512)]
)
@pytest.mark.parametrize("data", [b"", b"abc"])
def test_state_before_the_first_whole_block_is_written_as_go_writes_it(
    algorithm: type[Digest], head: str, data: bytes
) -> None:
    digest = algorithm()
    digest.update(data)
    expected = written_state(head, BLOCK[algorithm], data, len(data))
    assert digest.export_state() == expected
    assert len(expected) == {Sha256: 108, Sha512: 204}[algorithm]


@pytest.mark.parametrize(("algorithm", "vector"), [(Sha256, LARGE_256), (Sha512, LARGE_512)])
def test_state_of_more_than_four_gib_goes_on_where_it_stopped(
    algorithm: type[Digest], vector: tuple[str, bytes, str]
) -> None:
    head, held, hexdigest = vector
    state = written_state(head, BLOCK[algorithm], held, LARGE_LENGTH)
    digest = algorithm.restore(state)
    assert digest.hexdigest() == hexdigest
    assert digest.length == LARGE_LENGTH
    assert digest.export_state() == state


@pytest.mark.parametrize("algorithm", [Sha256, Sha512])
def test_restore_clears_what_a_block_held_before(algorithm: type[Digest]) -> None:
    digest = algorithm()
    digest.update(b"\xff" * (BLOCK[algorithm] + 9))
    tail = digest.export_state()[-8 - BLOCK[algorithm] : -8]
    assert tail == (b"\xff" * 9).ljust(BLOCK[algorithm], b"\0")


def good_state(algorithm: type[Digest], size: int) -> bytearray:
    digest = algorithm()
    digest.update(b"\x5a" * size)
    return bytearray(digest.export_state())


def with_length(algorithm: type[Digest], length: int) -> bytes:
    state = good_state(algorithm, 3 * BLOCK[algorithm])
    state[-8:] = length.to_bytes(8, "big")
    return bytes(state)


def hostile_states(algorithm: type[Digest]) -> dict[str, bytes]:
    good = bytes(good_state(algorithm, 200))
    block = BLOCK[algorithm]
    padded = good_state(algorithm, 200)
    padded[-9] = 1
    moved = good_state(algorithm, 10)
    moved[4] ^= 1
    return {
        "empty": b"",
        "only the magic": good[:4],
        "a byte short": good[:-1],
        "a byte long": good + b"\0",
        "zeros": bytes(len(good)),
        "sha224 or sha384": good[:3] + bytes([good[3] ^ 1]) + good[4:],
        "md5": b"md5\x01" + good[4:],
        "no zeros behind the held bytes": bytes(padded),
        "a length that holds fewer bytes": good[:-8] + (192).to_bytes(8, "big"),
        "words that moved without a block": bytes(moved),
        "a length of 2**61": with_length(algorithm, 2**61),
        "a length that wraps in bits": with_length(algorithm, 2**61 + 3 * block),
        "the largest length": good[:-8] + b"\xff" * 8,
    }


@pytest.mark.parametrize("name", hostile_states(Sha256))
@pytest.mark.parametrize("algorithm", [Sha256, Sha512])
def test_restore_refuses(algorithm: type[Digest], name: str) -> None:
    with pytest.raises(ValueError, match=f"not a stored state of {algorithm.name}"):
        algorithm.restore(hostile_states(algorithm)[name])


def test_restore_refuses_the_other_algorithm_and_what_is_no_buffer() -> None:
    with pytest.raises(ValueError, match="sha512"):
        Sha512.restore(Sha256().export_state())
    with pytest.raises(TypeError):
        Sha256.restore("sha")  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", [Sha256, Sha512])
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_restore_of_any_bytes_is_refused_or_exact(
    algorithm: type[Digest], data: st.DataObject
) -> None:
    state = good_state(algorithm, data.draw(st.integers(0, 300)))
    for at, value in data.draw(
        st.dictionaries(st.integers(0, len(state) - 1), st.integers(0, 255), max_size=4)
    ).items():
        state[at] = value
    try:
        digest = algorithm.restore(state)
    except ValueError:
        return
    assert digest.export_state() == state
    assert len(digest.digest()) == len(hashlib.new(algorithm.name).digest())


@pytest.mark.parametrize("algorithm", [Sha256, Sha512])
def test_length_stops_below_two_to_the_61_and_the_digest_stays_whole(
    algorithm: type[Digest],
) -> None:
    block = BLOCK[algorithm]
    digest = algorithm.restore(with_length(algorithm, MAX_LENGTH + 1 - block))
    digest.update(b"z" * (block - 1))
    before = digest.export_state()
    with pytest.raises(OverflowError, match="2\\*\\*61"):
        digest.update(b"z")
    assert digest.length == MAX_LENGTH
    assert digest.export_state() == before
