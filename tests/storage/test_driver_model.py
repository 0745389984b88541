"""Any driver against a dict: whatever is done in whatever order, both hold the same."""

from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastreg.storage.base import ABSENT, Driver
from fastreg.storage.errors import Conflict, NotFound

DIRECTORIES = ["a", "a-b", "a.b", "a/a", "a/a/b", "a-b/a", "b"]
KEYS = [f"{directory}/{leaf}" for directory in DIRECTORIES for leaf in ("data", "link")]

keys = st.sampled_from(KEYS)
contents = st.binary(max_size=6)
operations = st.one_of(
    st.tuples(st.just("put"), keys, contents),
    st.tuples(st.just("create"), keys, contents),
    st.tuples(st.just("exchange"), keys, contents),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("append"), keys, contents),
    st.tuples(st.just("restart"), keys, contents),
    st.tuples(st.just("commit"), keys, keys),
    st.tuples(st.just("abort"), keys),
    st.tuples(
        st.just("list"), st.sampled_from(["", *DIRECTORIES]), st.sampled_from(["", "a", "b"])
    ),
)
examples = count()


class Pair:
    """A driver below a prefix of its own, and the dict that it is to agree with."""

    def __init__(self, driver: Driver, prefix: str) -> None:
        self.driver = driver
        self.prefix = prefix
        self.model: dict[str, bytes] = {}

    def check(self, key: str) -> None:
        if key in self.model:
            assert self.driver.get(f"{self.prefix}/{key}", 1000) == self.model[key]
            assert self.driver.stat(f"{self.prefix}/{key}").size == len(self.model[key])
        else:
            with pytest.raises(NotFound):
                self.driver.stat(f"{self.prefix}/{key}")

    def put(self, key: str, data: bytes) -> None:
        self.driver.put(f"{self.prefix}/{key}", data, durable=False)
        self.model[key] = data

    def create(self, key: str, data: bytes) -> None:
        if key in self.model:
            with pytest.raises(Conflict):
                self.driver.put(f"{self.prefix}/{key}", data, if_version=ABSENT)
        else:
            self.driver.put(f"{self.prefix}/{key}", data, if_version=ABSENT, durable=False)
            self.model[key] = data

    def exchange(self, key: str, data: bytes) -> None:
        if key in self.model:
            version = self.driver.stat(f"{self.prefix}/{key}").version
            self.driver.put(f"{self.prefix}/{key}", data, if_version=version, durable=False)
            self.model[key] = data
            with pytest.raises(Conflict):
                self.driver.delete(f"{self.prefix}/{key}", if_version=version)

    def delete(self, key: str) -> None:
        if key in self.model:
            self.driver.delete(f"{self.prefix}/{key}")
            del self.model[key]
        else:
            with pytest.raises(NotFound):
                self.driver.delete(f"{self.prefix}/{key}")

    def append(self, key: str, data: bytes) -> None:
        if key in self.model:
            with self.driver.writer(f"{self.prefix}/{key}", append=True) as writer:
                writer.write(data)
            self.model[key] += data
        else:
            with pytest.raises(NotFound):
                self.driver.writer(f"{self.prefix}/{key}", append=True)

    def restart(self, key: str, data: bytes) -> None:
        with self.driver.writer(f"{self.prefix}/{key}", append=False) as writer:
            writer.write(data)
        self.model[key] = data

    def commit(self, key: str, final: str) -> None:
        if key in self.model and key != final:
            with self.driver.writer(f"{self.prefix}/{key}", append=True) as writer:
                writer.commit(f"{self.prefix}/{final}")
            data = self.model.pop(key)
            if len(self.model.get(final, b"another length")) != len(data):
                self.model[final] = data
            self.check(final)

    def abort(self, key: str) -> None:
        if key in self.model:
            with self.driver.writer(f"{self.prefix}/{key}", append=True) as writer:
                writer.abort()
            del self.model[key]

    def list(self, directory: str, after: str) -> None:
        above = f"{directory}/" if directory else ""
        below = [key.removeprefix(above) for key in self.model if key.startswith(above)]
        names = sorted({key.split("/")[0] for key in below})
        prefix = f"{self.prefix}/{directory}".rstrip("/")
        assert list(self.driver.list(prefix, after)) == [name for name in names if name > after]


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(operations, max_size=25))
def test_a_driver_agrees_with_a_dict(driver: Driver, done: list[tuple[str, ...]]) -> None:
    pair = Pair(driver, f"example{next(examples)}")
    for name, key, *rest in done:
        operation: Callable[..., None] = getattr(pair, name)
        operation(key, *rest)
        if name != "list":
            pair.check(key)
    for directory in ["", *DIRECTORIES]:
        pair.list(directory, "")
    for key in KEYS:
        pair.check(key)
    assert bool(pair.model) == (pair.prefix in driver.list(""))
