"""Objects written in any steps, by any number of writers, across sizes of blocks."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastreg.storage import azure_blocks, azure_staging, azure_writer
from fastreg.storage.azure import AzureDriver
from fastreg.storage.azure_blocks import block_at
from tests.azurite import Azurite
from tests.live.client import noise

PAGE = 4096
CONTENT = noise("steps", 40 * PAGE)
FINAL = "b/data"


@pytest.fixture(scope="module")
def driver(azurite: Azurite) -> Iterator[AzureDriver]:
    """Over a container, with blocks so small that every size of them is met."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(azure_blocks, "_ZONES", ((PAGE, 3), (2 * PAGE, 2), (4 * PAGE, 1000)))
        patch.setattr(azure_staging, "FIRST_BLOCK_BYTES", PAGE)
        patch.setattr(azure_writer, "FIRST_BLOCK_BYTES", PAGE)
        yield AzureDriver(azurite.new_container())


_sizes = st.one_of(
    st.integers(0, 9 * PAGE),
    st.sampled_from([1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE, 4 * PAGE]),
)
_steps = st.lists(st.tuples(_sizes, st.sampled_from(["", "sync", "reopen"])), max_size=7)


@given(_steps, st.booleans())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_the_steps_the_object_is_what_was_written(
    driver: AzureDriver, steps: list[tuple[int, str]], is_known: bool
) -> None:
    destination = FINAL if is_known else None
    writer = driver.writer("u/data", append=False)
    for size, then in steps:
        at = writer.size
        writer.write(CONTENT[at : at + size])
        if then == "sync":
            writer.sync()
            assert driver.stat("u/data").size == writer.size
        elif then == "reopen":
            writer.close()
            at = writer.size
            writer = driver.writer("u/data", append=True, destination=destination)
            assert writer.size == at
    size = writer.size
    writer.commit(FINAL)
    assert driver.get(FINAL, 1 << 20) == CONTENT[:size]
    assert list(driver.list("u")) == []
    blocks, _ = driver._connection.blob(FINAL).get_block_list()
    assert len(blocks) <= (block_at(size - 1).number + 1 if size else 0)
