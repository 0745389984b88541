"""Lists of tags: distribution-spec, "Listing Tags"."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.api.client import Client, index
from tests.api.conftest import MakeClient

URL = "/v2/app/tags/list"
TAGS = sorted(
    ["1", "1.0", "10", "2", "A", "B-1", "Z", "_x", "a", "a.b", "a-b", "a_b", "b", "latest"]
)


@pytest.fixture
def tagged(client: Client) -> Client:
    client.push_manifest(index(), "latest")
    digest = client.head("/v2/app/manifests/latest")["Docker-Content-Digest"]
    query = "&".join(f"tag={t}" for t in reversed(TAGS))
    client.push_manifest(index(), f"{digest}?{query}")
    return client


def test_the_list_is_sorted_bytewise(tagged: Client) -> None:
    answer = tagged.get(URL)
    assert answer.status == 200
    assert answer.json == {"name": "app", "tags": TAGS}
    assert answer["Content-Type"].startswith("application/json")
    assert answer["Link"] == ""


@pytest.mark.parametrize("n", [1, 2, 3, 5, len(TAGS) - 1, len(TAGS), len(TAGS) + 1])
def test_following_the_links_gives_the_whole_list(tagged: Client, n: int) -> None:
    pages = tagged.pages(f"{URL}?n={n}", "tags")
    assert list(chain(*pages)) == TAGS
    assert all(len(page) == n for page in pages[:-1])
    assert 1 <= len(pages[-1]) <= n


@pytest.mark.parametrize("last", ["", *TAGS, "0", "zzz", "a/b", "a%00", "%FF"])
def test_last_begins_after_itself(tagged: Client, last: str) -> None:
    expected = [t for t in TAGS if t > last] if "%" not in last else None
    answer = tagged.get(f"{URL}?last={last}")
    assert answer.status == 200
    assert expected is None or answer.json["tags"] == expected


def test_n_and_last_together(tagged: Client) -> None:
    answer = tagged.get(f"{URL}?n=2&last=A")
    assert answer.json["tags"] == TAGS[TAGS.index("A") + 1 :][:2]
    assert answer["Link"].startswith(f"<{URL}?")


def test_n_of_zero_is_an_empty_list_without_a_link(tagged: Client) -> None:
    answer = tagged.get(f"{URL}?n=0")
    assert (answer.status, answer.json["tags"], answer["Link"]) == (200, [], "")


@pytest.mark.parametrize("n", ["-1", "x", "", "1.5", "+1", "0x10", "9" * 30, "%D9%A1", "1e3"])
def test_a_bad_n_is_400(tagged: Client, n: str) -> None:
    assert tagged.get(f"{URL}?n={n}").outcome == (400, "PAGINATION_NUMBER_INVALID")


@pytest.mark.parametrize("query", ["", "?n=4", "?n=100000000"])
def test_no_page_is_longer_than_configured(
    tagged: Client, client_with: MakeClient, query: str
) -> None:
    pages = client_with(max_tags=4).pages(URL + query, "tags")
    assert list(chain(*pages)) == TAGS
    assert max(map(len, pages)) == 4


def test_the_list_goes_on_where_a_tag_was_deleted_meanwhile(tagged: Client) -> None:
    link = tagged.get(f"{URL}?n=3")["Link"]
    tagged.delete(f"/v2/app/manifests/{TAGS[2]}")
    assert tagged.get(link[1:].partition(">")[0]).json["tags"] == TAGS[3:6]


def test_a_repository_without_tags_has_an_empty_list(client: Client) -> None:
    client.push_blob(b"only a blob")
    answer = client.get(URL)
    assert (answer.status, answer.json) == (200, {"name": "app", "tags": []})


def test_an_unknown_repository_is_404(client: Client) -> None:
    client.push_blob(b"x", "app/nested")
    for name in ("app", "app/nested/deeper", "other"):
        answer = client.get(f"/v2/{name}/tags/list")
        assert answer.outcome == (404, "NAME_UNKNOWN")
        assert answer.json["errors"][0]["detail"] == {"name": name}


def test_an_upload_alone_makes_no_repository(client: Client) -> None:
    client.start()
    assert client.get(URL).outcome == (404, "NAME_UNKNOWN")
