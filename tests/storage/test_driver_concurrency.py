"""Several processes over one store, all at the same keys."""

from tests.storage.stores import Store, hear, say

PROCESSES = 4

READY = "print('ready', flush=True); input()\n"


def run_together(store: Store, source: str) -> list[list[str]]:
    """Run `source` in several processes at once, with `me` their number; return what each
    printed."""
    children = [store.start(f"me = {me}\n{READY}{source}") for me in range(PROCESSES)]
    assert [hear(child) for child in children] == ["ready"] * PROCESSES
    for child in children:
        say(child, "go")
    outputs = [child.communicate(timeout=60)[0].split() for child in children]
    assert [child.returncode for child in children] == [0] * PROCESSES
    return outputs


def test_objects_come_and_go_below_one_parent_and_none_is_lost(store: Store) -> None:
    run_together(
        store,
        "for turn in range(150):\n"
        "    driver.put(f'p/q/{me}/link', b'x', durable=False)\n"
        "    assert driver.get(f'p/q/{me}/link', 1) == b'x'\n"
        "    driver.delete(f'p/q/{me}/link')\n"
        "driver.put(f'p/q/{me}/link', b'last')",
    )
    assert list(store.driver.list("p/q")) == [str(me) for me in range(PROCESSES)]
    for me in range(PROCESSES):
        store.driver.delete(f"p/q/{me}/link")
    assert list(store.driver.list("")) == []


def test_uploads_come_and_go_below_one_parent_and_none_is_lost(store: Store) -> None:
    run_together(
        store,
        "for turn in range(60):\n"
        "    with driver.writer(f'u/{me}/data', append=False) as writer:\n"
        "        writer.write(b'abc')\n"
        "        if turn % 2:\n"
        "            writer.abort()\n"
        "        else:\n"
        "            writer.commit(f'b/{me}/data')\n"
        "    if not turn % 2:\n"
        "        assert driver.get(f'b/{me}/data', 3) == b'abc'\n"
        "        driver.delete(f'b/{me}/data')",
    )
    assert list(store.driver.list("")) == []


def test_only_one_of_many_creates(store: Store) -> None:
    outputs = run_together(
        store,
        "from fastreg.storage.errors import Conflict\n"
        "for turn in range(40):\n"
        "    try:\n"
        "        mine = str(me).encode()\n"
        "        driver.put(f'p/{turn}/link', mine, if_version='absent', durable=False)\n"
        "        print(turn)\n"
        "    except Conflict:\n"
        "        pass",
    )
    assert sorted(int(turn) for output in outputs for turn in output) == list(range(40))
    for me, output in enumerate(outputs):
        assert {store.driver.get(f"p/{turn}/link", 9) for turn in output} <= {str(me).encode()}


def test_conditional_puts_lose_no_change(store: Store) -> None:
    store.driver.put("counter", b"0")
    run_together(
        store,
        "from fastreg.storage.errors import Conflict\n"
        "done = 0\n"
        "while done < 50:\n"
        "    version = driver.stat('counter').version\n"
        "    number = int(driver.get('counter', 20)) + 1\n"
        "    try:\n"
        "        driver.put('counter', str(number).encode(), if_version=version, durable=False)\n"
        "        done += 1\n"
        "    except Conflict:\n"
        "        pass",
    )
    assert store.driver.get("counter", 20) == str(50 * PROCESSES).encode()


def test_only_one_of_many_deletes(store: Store) -> None:
    for turn in range(40):
        store.driver.put(f"p/{turn}/link", b"x", durable=False)
    outputs = run_together(
        store,
        "from fastreg.storage.errors import NotFound\n"
        "for turn in range(40):\n"
        "    try:\n"
        "        driver.delete(f'p/{turn}/link')\n"
        "        print(turn)\n"
        "    except NotFound:\n"
        "        pass",
    )
    assert sorted(int(turn) for output in outputs for turn in output) == list(range(40))
    assert list(store.driver.list("")) == []


def test_readers_see_whole_objects_while_they_are_replaced(store: Store) -> None:
    store.driver.put("p/link", b"0" * 5000)
    run_together(
        store,
        "for turn in range(150):\n"
        "    if me % 2:\n"
        "        driver.put('p/link', str(me).encode() * 5000, durable=False)\n"
        "    else:\n"
        "        data = driver.get('p/link', 5000)\n"
        "        assert len(data) == 5000 and len(set(data)) == 1",
    )
    assert store.driver.stat("p/link").size == 5000


def test_only_one_of_many_writers_has_the_key(locking: Store) -> None:
    locking.driver.writer("u/log", append=False).close()
    run_together(
        locking,
        "from fastreg.storage.errors import Busy\n"
        "written = 0\n"
        "while written < 20:\n"
        "    try:\n"
        "        with driver.writer('u/log', append=True) as writer:\n"
        "            before = writer.size\n"
        "            writer.write(b'a')\n"
        "            writer.write(b'b')\n"
        "            assert writer.size == before + 2\n"
        "        written += 1\n"
        "    except Busy:\n"
        "        pass",
    )
    assert locking.driver.get("u/log", 1000) == b"ab" * 20 * PROCESSES


def test_only_one_of_many_uploads_starts_anew(locking: Store) -> None:
    run_together(
        locking,
        "import os\n"
        "from fastreg.storage.errors import Busy\n"
        "for turn in range(100):\n"
        "    try:\n"
        "        with driver.writer('u/data', append=False) as writer:\n"
        "            assert writer.size == 0\n"
        "            writer.write(b'x' * (1 + turn % 7))\n"
        "            writer.commit(f'b/{me}/{turn}')\n"
        "        assert driver.stat(f'b/{me}/{turn}').size == 1 + turn % 7\n"
        "    except Busy:\n"
        "        pass",
    )
    assert list(locking.driver.list("u")) == []
