"""Names in the driver's order, however Azure cuts its own order into pages."""

from collections.abc import Iterator

import pytest
from azure.storage.blob import ContainerClient
from hypothesis import given
from hypothesis import strategies as st

from fastreg.storage.azure_listing import Page, in_order
from fastreg.storage.base import Driver
from fastreg.storage.errors import NotFound
from tests.faulty.proxy import FaultProxy

names = st.text(alphabet="ab-.0_", min_size=1, max_size=5).filter(lambda n: n not in (".", ".."))
keys = st.lists(st.tuples(names, st.booleans(), st.booleans()), max_size=30)


class Account:
    """What is stored directly below a prefix, told in pages as Azure tells it."""

    def __init__(self, stored: list[tuple[str, bool, bool]]) -> None:
        self.prefixes = {name for name, has_below, _ in stored if has_below}
        self.objects = {name for name, _, is_object in stored if is_object}
        self.asked: list[str] = []

    def pages(self, size: int) -> Iterator[Page]:
        order = sorted(self.objects | {f"{name}/" for name in self.prefixes})
        for start in range(0, len(order), size):
            yield Page(order[start : start + size], start + size >= len(order))

    def is_prefix(self, name: str) -> bool:
        self.asked.append(name)
        return name in self.prefixes

    @property
    def names(self) -> list[str]:
        return sorted(self.prefixes | self.objects)


@given(keys, st.integers(1, 7), st.one_of(st.just(""), names))
def test_names_come_in_order_and_once_from_pages_of_any_size(
    stored: list[tuple[str, bool, bool]], size: int, after: str
) -> None:
    account = Account(stored)
    told = list(in_order(account.pages(size), after, account.is_prefix))
    assert told == [name for name in account.names if name > after]


@given(keys, st.integers(1, 7))
def test_an_account_that_sorts_prefixes_by_their_bare_names_is_told_in_order_too(
    stored: list[tuple[str, bool, bool]], size: int
) -> None:
    account = Account(stored)
    order = sorted(
        account.objects | {f"{name}/" for name in account.prefixes},
        key=lambda name: name.replace("/", "\x01"),
    )
    cuts = range(0, len(order), size)
    pages = [Page(sorted(order[at : at + size]), at + size >= len(order)) for at in cuts]
    assert list(in_order(pages, "", account.is_prefix)) == account.names


def test_pages_without_a_name_do_not_end_the_list() -> None:
    pages = [Page([], False), Page(["a"], False), Page([], False), Page(["b"], True)]
    assert list(in_order(pages, "", lambda name: False)) == ["a", "b"]


def test_names_that_are_no_key_segments_are_left_out() -> None:
    names = ["", "%41", ".", "a b/", "a/", "ä"]
    assert list(in_order([Page(names, True)], "", lambda name: False)) == ["a"]


def test_only_stems_of_a_last_name_are_asked_for() -> None:
    account = Account([(f"build-1.{number}", True, False) for number in range(10)])
    assert list(in_order(account.pages(4), "", account.is_prefix)) == account.names
    assert account.asked == ["build", "build-1"]


def test_a_page_is_told_before_the_next_is_asked_for() -> None:
    asked = []

    def pages() -> Iterator[Page]:
        for number in range(3):
            asked.append(number)
            yield Page([f"{number}-a"], number == 2)

    listing = in_order(pages(), "", lambda name: False)
    assert (next(listing), asked) == ("0-a", [0])


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastreg.storage.azure_client._NAMES_A_PAGE", 2)


@pytest.mark.usefixtures("small_pages")
def test_a_real_account_is_listed_whole_over_many_pages(azure: Driver) -> None:
    stored = ["a-b/x", "a-b.c", "a.b", "a/x", "a0/x", "aa", "a", "a-/x", "b/x", "b-1/y", "b-2/y"]
    for name in stored:
        azure.put(f"p/{name}", b"", durable=False)
    names = sorted({name.partition("/")[0] for name in stored})
    for start, last in enumerate(["", *names]):
        assert list(azure.list("p", after=last)) == names[start:]


@pytest.mark.usefixtures("small_pages")
def test_a_list_asks_only_for_the_pages_that_are_read(azure: Driver, proxy: FaultProxy) -> None:
    for number in range(9):
        azure.put(f"p/{number}", b"", durable=False)
    listing = azure.list("p")
    before = len(proxy.seen)
    assert next(listing) == "0"
    assert len(proxy.seen) == before + 1


def test_what_only_stands_for_a_directory_is_no_object(
    azure: Driver, container: ContainerClient
) -> None:
    azure.put("a/b", b"x")
    for name in ("a", "a/empty"):
        container.upload_blob(name, b"", metadata={"hdi_isfolder": "true"})
        with pytest.raises(NotFound):
            azure.stat(name)
        with pytest.raises(NotFound):
            azure.open(name)
    assert list(azure.list("")) == ["a"]
    assert list(azure.list("a")) == ["b"]
