"""What the digests promise Python: known answers, hashlib's answers, and their manners."""

import array
import hashlib
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import Buffer

from fastreg.fastlane import Sha256, Sha512

Digest = Sha256 | Sha512
DIGESTS: list[type[Digest]] = [Sha256, Sha512]

# FIPS 180-4 and NIST's examples: one block, two blocks of either algorithm, none at all.
TWO_BLOCKS_256 = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
TWO_BLOCKS_512 = (
    b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
    b"hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
)
KNOWN = [
    (Sha256, b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (Sha256, b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (Sha256, TWO_BLOCKS_256, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
    (
        Sha256,
        b"a" * 1_000_000,
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    ),
    (
        Sha512,
        b"",
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
        "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
    ),
    (
        Sha512,
        b"abc",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ),
    (
        Sha512,
        TWO_BLOCKS_512,
        "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
        "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
    ),
    (
        Sha512,
        b"a" * 1_000_000,
        "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
        "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
    ),
]


@pytest.mark.parametrize(("algorithm", "data", "expected"), KNOWN)
def test_digest_of_a_published_example_is_the_published_one(
    algorithm: type[Digest], data: bytes, expected: str
) -> None:
    digest = algorithm()
    digest.update(data)
    assert digest.hexdigest() == expected
    assert digest.digest() == bytes.fromhex(expected)


@pytest.mark.parametrize("algorithm", DIGESTS)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_mix_of_updates_exports_restores_and_digests_agrees_with_hashlib(
    algorithm: type[Digest], data: st.DataObject
) -> None:
    # Sizes around the two block sizes, and around where the GIL is given away.
    sizes = st.one_of(st.integers(0, 300), st.integers(2040, 2056), st.integers(0, 20_000))
    digest, reference, hashed = algorithm(), hashlib.new(algorithm.name), 0
    for size in data.draw(st.lists(sizes, max_size=8)):
        piece = data.draw(st.binary(min_size=16, max_size=16)) * (size // 16 + 1)
        digest.update(memoryview(piece)[:size])
        reference.update(memoryview(piece)[:size])
        hashed += size
        if data.draw(st.booleans()):
            state = digest.export_state()
            digest = algorithm.restore(state)
            assert digest.export_state() == state
        assert digest.length == hashed
        if data.draw(st.booleans()):
            assert digest.digest() == reference.digest()
    assert digest.hexdigest() == reference.hexdigest()


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_every_length_around_two_blocks_survives_an_export_at_every_byte(
    algorithm: type[Digest],
) -> None:
    data = bytes(range(256)) + bytes(range(20))
    running = algorithm()
    for at in range(len(data)):
        resumed = algorithm.restore(running.export_state())
        resumed.update(data[at:])
        assert resumed.digest() == hashlib.new(algorithm.name, data).digest(), at
        running.update(data[at : at + 1])


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_a_restored_digest_is_independent_of_the_one_it_came_from(
    algorithm: type[Digest],
) -> None:
    first = algorithm()
    first.update(b"shared")
    second = algorithm.restore(first.export_state())
    second.update(b"more")
    assert first.hexdigest() == hashlib.new(algorithm.name, b"shared").hexdigest()
    assert (first.length, second.length) == (6, 10)


@pytest.mark.parametrize("size", [24, 4096])
@pytest.mark.parametrize("algorithm", DIGESTS)
def test_update_takes_any_contiguous_buffer(algorithm: type[Digest], size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    buffers: list[Buffer] = [
        data,
        bytearray(data),
        memoryview(data),
        memoryview(data).cast("I"),
        memoryview(data).cast("B", (2, size // 2)),
        array.array("H", data),
    ]
    for buffer in buffers:
        digest = algorithm()
        digest.update(buffer)
        assert digest.digest() == hashlib.new(algorithm.name, data).digest()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [("text", TypeError), (None, TypeError), (memoryview(b"abcd")[::2], BufferError)],
)
def test_update_refuses_what_is_no_contiguous_buffer_and_changes_nothing(
    wrong: object, error: type[Exception]
) -> None:
    digest = Sha256()
    digest.update(b"kept")
    with pytest.raises(error):
        digest.update(wrong)  # type: ignore[arg-type]
    assert digest.length == 4
    assert digest.digest() == hashlib.sha256(b"kept").digest()


def test_update_lets_go_of_the_buffer() -> None:
    data = bytearray(b"x" * 4096)
    Sha256().update(data)
    data.clear()  # raises BufferError while anything still holds it
    assert data == b""


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_a_digest_is_neither_pickled_nor_subclassed_nor_made_from_the_base(
    algorithm: type[Digest],
) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(algorithm())
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (algorithm,), {})
    with pytest.raises(TypeError, match="Sha256 or Sha512"):
        algorithm.__mro__[1]()


def test_names_are_those_of_digest_strings() -> None:
    assert [algorithm.name for algorithm in DIGESTS] == ["sha256", "sha512"]
    assert [algorithm().name for algorithm in DIGESTS] == ["sha256", "sha512"]
