"""The list of repositories, as the reference registry gives it."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.api.client import Client
from tests.api.conftest import MakeClient

URL = "/v2/_catalog"
NAMES = sorted(["a", "a-b", "a/b", "a/b/c", "a.b", "ab", "a0", "b/c/d", "b/c-d/e", "z"])


@pytest.fixture
def stocked(client: Client) -> Client:
    for name in reversed(NAMES):
        client.push_blob(b"x", name)
    client.start("unfinished")
    return client


def test_an_empty_registry_has_an_empty_catalog(client: Client) -> None:
    answer = client.get(URL)
    assert (answer.status, answer.json) == (200, {"repositories": []})


def test_names_that_begin_alike_are_all_listed_in_order(stocked: Client) -> None:
    answer = stocked.get(URL)
    assert answer.json == {"repositories": NAMES}
    assert answer["Link"] == ""


@pytest.mark.parametrize("n", range(1, len(NAMES) + 2))
def test_following_the_links_gives_the_whole_catalog(stocked: Client, n: int) -> None:
    pages = stocked.pages(f"{URL}?n={n}", "repositories")
    assert list(chain(*pages)) == NAMES
    assert all(len(page) == n for page in pages[:-1])
    assert 1 <= len(pages[-1]) <= n


@pytest.mark.parametrize("last", [*NAMES, "", "a/", "a/a", "a/b/", "0", "~", "b", "b/c", "/"])
def test_last_begins_after_itself(stocked: Client, last: str) -> None:
    assert stocked.get(f"{URL}?last={last}").json["repositories"] == [
        name for name in NAMES if name > last
    ]


def test_n_of_zero_is_an_empty_list_without_a_link(stocked: Client) -> None:
    answer = stocked.get(f"{URL}?n=0")
    assert (answer.json, answer["Link"]) == ({"repositories": []}, "")


@pytest.mark.parametrize("n", ["-1", "x", "", "1.5", "9" * 30, "1001"])
def test_a_bad_or_too_large_n_is_400(stocked: Client, n: str) -> None:
    assert stocked.get(f"{URL}?n={n}").outcome == (400, "PAGINATION_NUMBER_INVALID")


def test_pages_are_as_long_as_configured(stocked: Client, client_with: MakeClient) -> None:
    client = client_with(max_catalog_entries=3)
    pages = client.pages(URL, "repositories")
    assert list(chain(*pages)) == NAMES
    assert max(map(len, pages)) == 3
    assert client.get(f"{URL}?n=4").status == 400
