"""The drivers that the storage suite runs over. A new driver is one more fixture here."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import gevent
import pytest
from azure.storage.blob import ContainerClient
from gevent.threadpool import ThreadPool

from fastreg.registry.content import identify
from fastreg.storage.azure import AzureDriver
from fastreg.storage.base import Driver, OffLoop, run_inline
from fastreg.storage.cache import Cache
from fastreg.storage.cached import CachedDriver
from fastreg.storage.generations import Generations
from fastreg.storage.local import LocalDriver
from fastreg.storage.memory import Memory
from tests.azurite import Azurite
from tests.faulty.cloud import Cloud
from tests.faulty.proxy import FaultProxy
from tests.storage.stores import Store


def missing(what: str, install: str) -> NoReturn:
    """Fail the test where everything has to be there, else skip it, saying the same."""
    message = f"{what} is missing: {install}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _outcome(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return fn(*args), None
    except Exception as error:
        return None, error


@pytest.fixture
def in_threads() -> Iterator[OffLoop]:
    """An OffLoop of threads, as a server on gevent has one."""
    pool = ThreadPool(4)

    def run(fn: Callable[..., Any], /, *args: Any) -> Any:
        # The pool prints what it sees raised.
        value, error = pool.spawn(_outcome, fn, args).get()
        if error is not None:
            raise error
        return value

    yield run
    pool.kill()


def _local_store(root: Path, off_loop: OffLoop) -> Store:
    return Store(
        driver=LocalDriver(root, off_loop),
        reopen=lambda: LocalDriver(root),
        program="from pathlib import Path\n"
        "from fastreg.storage.local import LocalDriver\n"
        f"driver = LocalDriver(Path({str(root)!r}))",
    )


@pytest.fixture
def local_store(tmp_path: Path) -> Iterator[Store]:
    store = _local_store(tmp_path / "root", run_inline)
    yield store
    store.end_children()


@pytest.fixture
def threaded_store(tmp_path: Path, in_threads: OffLoop) -> Iterator[Store]:
    store = _local_store(tmp_path / "root", in_threads)
    yield store
    store.end_children()


@pytest.fixture
def azure_store(azurite: Azurite, in_threads: OffLoop) -> Iterator[Store]:
    settings = azurite.new_container()
    store = Store(
        driver=AzureDriver(settings, in_threads),
        reopen=lambda: AzureDriver(settings),
        program="from fastreg.storage.azure import AzureDriver\n"
        "from fastreg.storage.azure_client import AzureSettings\n"
        f"driver = AzureDriver({settings!r})",
    )
    yield store
    store.end_children()


def _behind_a_cache(driver: LocalDriver, directory: Path, off_loop: OffLoop) -> CachedDriver:
    generations = Generations()
    cache = Cache(
        str(directory),
        max_size=0.8,
        sampling=0.0,
        off_loop=off_loop,
        spawn=gevent.spawn,
        sleep=gevent.sleep,
    )
    memory = Memory(driver, generations, 1.0, gevent.sleep)
    return CachedDriver(driver, cache, memory, generations, identify)


@pytest.fixture
def cached_store(threaded_store: Store, tmp_path: Path, in_threads: OffLoop) -> Store:
    inner = threaded_store.driver
    assert isinstance(inner, LocalDriver)
    threaded_store.driver = _behind_a_cache(inner, tmp_path / "cache", in_threads)
    return threaded_store


LOCAL_STORES = ["local_store", "threaded_store", "cached_store"]


def _named(request: pytest.FixtureRequest) -> Store:
    store = request.getfixturevalue(request.param)
    assert isinstance(store, Store)
    return store


@pytest.fixture(params=[*LOCAL_STORES, "azure_store"])
def store(request: pytest.FixtureRequest) -> Store:
    return _named(request)


@pytest.fixture
def driver(store: Store) -> Driver:
    return store.driver


@pytest.fixture(params=LOCAL_STORES)
def locking(request: pytest.FixtureRequest) -> Store:
    """A store whose drivers tell the second writer at once, not when it syncs."""
    return _named(request)


@pytest.fixture
def tree(locking: Store) -> Driver:
    """A driver in which nothing can be stored below an object."""
    return locking.driver


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def local(local_store: Store) -> LocalDriver:
    assert isinstance(local_store.driver, LocalDriver)
    return local_store.driver


Mount = Callable[[Path, list[str]], Path]


@contextmanager
def _mounted(where: Path, arguments: list[str]) -> Iterator[Path]:
    where.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *arguments, str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts something for the test's length: `mount(where, ["-t", "tmpfs", "none"])`."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        missing("the right to mount", "run the tests as root, after apt-get install mount")
    with ExitStack() as stack:
        yield lambda where, arguments: stack.enter_context(_mounted(where, arguments))


@pytest.fixture
def small_disk(mount: Mount, tmp_path: Path) -> Path:
    """A file system of 1 MiB and 64 inodes."""
    return mount(tmp_path / "disk", ["-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "none"])


@pytest.fixture
def strace() -> str:
    path = shutil.which("strace")
    if path is None:
        missing("strace", "apt-get install strace")
    return str(path)


@pytest.fixture
def azure(cloud: Cloud, in_threads: OffLoop) -> Driver:
    return AzureDriver(cloud.settings, in_threads)


@pytest.fixture
def proxy(cloud: Cloud) -> FaultProxy:
    return cloud.proxy


@pytest.fixture
def container(cloud: Cloud) -> ContainerClient:
    return cloud.container
