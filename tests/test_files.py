"""The store of files, in a real Redis."""

import re
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import FileTooLarge, StorageDown
from bot.storage.files import MOST_BYTES, FileStore
from tests.support.files import PICTURE


async def test_a_kept_file_is_found_by_any_process_with_all_that_is_known_of_it(redis: Redis) -> None:
    file = await FileStore(redis).keep("sales.png", "image/png", PICTURE, "A line that goes up")
    assert (file.name, file.media_type, file.size, file.alt) == (
        "sales.png",
        "image/png",
        len(PICTURE),
        "A line that goes up",
    )
    assert await FileStore(redis).find(file.id) == (file, PICTURE)


async def test_the_same_file_has_the_same_id_and_another_has_not(redis: Redis) -> None:
    store = FileStore(redis)
    first = await store.keep("a.csv", "text/csv", b"x")
    assert (await store.keep("a.csv", "text/csv", b"x")).id == first.id
    others = [("b.csv", "text/csv", b"x"), ("a.csv", "text/plain", b"x"), ("a.csv", "text/csv", b"y")]
    assert first.id not in [(await store.keep(*each)).id for each in others]


async def test_the_id_of_a_file_says_nothing_about_its_content(redis: Redis) -> None:
    """A file's content does not tell its address; another Redis has another id."""
    file = await FileStore(redis).keep("a.csv", "text/csv", b"x")
    assert re.fullmatch("[0-9a-f]{32}", file.id)
    await redis.flushall()
    assert (await FileStore(redis).keep("a.csv", "text/csv", b"x")).id != file.id


async def test_what_is_no_id_or_unknown_finds_nothing(redis: Redis) -> None:
    store = FileStore(redis)
    assert await store.find("0" * 32) is None
    assert await store.find("*") is None


async def test_a_file_that_is_too_large_is_not_kept(redis: Redis) -> None:
    with pytest.raises(FileTooLarge, match="has 8,388,609 bytes"):
        await FileStore(redis).keep("big.bin", "application/octet-stream", bytes(MOST_BYTES + 1))
    assert await redis.keys("{bot}:file*") == []


async def test_the_oldest_files_make_room_when_all_together_take_too_much(redis: Redis) -> None:
    store = FileStore(redis, most_bytes=250)
    kept = [await store.keep(f"{number}.bin", "application/octet-stream", bytes(100)) for number in range(3)]
    assert len([each for each in kept if await store.find(each.id)]) == 2
    assert await store.find(kept[-1].id)
    # one that is kept again counts once
    await store.keep("2.bin", "application/octet-stream", bytes(100))
    assert len(await redis.keys("{bot}:file:*")) == 2


LARGE = bytes(range(256)) * 4_096 + b"end"
"""Content in five pieces."""


async def test_a_large_file_is_stored_in_pieces_and_found_whole(redis: Redis) -> None:
    """Once; no command holds more than a piece."""
    store = FileStore(redis)
    file = await store.keep("noise.bin", "application/octet-stream", LARGE)
    assert await FileStore(redis).find(file.id) == (file, LARGE)
    lengths = [await redis.hstrlen(f"{{bot}}:file:{file.id}", f"piece:{number}") for number in range(6)]
    assert lengths == [262_144] * 4 + [3, 0]
    await redis.hdel(f"{{bot}}:file:{file.id}", "piece:0")
    assert await store.keep("noise.bin", "application/octet-stream", LARGE) == file, "it is not written again"
    assert await store.find(file.id) is None, "a part of a file is not a file"
    assert all([0 < await redis.ttl(key) <= 24 * 3600 for key in await redis.keys("{bot}:*")])


async def test_a_large_file_that_a_crash_interrupts_is_written_again(redis: Redis) -> None:
    class Killed(FileStore):
        async def _write_pieces(self, id: str, content: bytes, *args: Any) -> None:
            await redis.hset(f"{{bot}}:file:{id}", "piece:0", content[:262_144])
            raise ConnectionError

    store = FileStore(redis)
    killed = Killed(redis)
    with pytest.raises(StorageDown):
        await killed.keep("noise.bin", "application/octet-stream", LARGE)
    file = await store.keep("noise.bin", "application/octet-stream", LARGE)
    assert await store.find(file.id) == (file, LARGE)


async def test_a_large_file_that_is_removed_while_it_is_written_leaves_nothing(redis: Redis) -> None:
    """It is found no more, and takes no place that nobody counts."""

    class Slow(FileStore):
        async def _write_pieces(self, *args: Any) -> None:
            await FileStore(redis, most_bytes=len(LARGE)).keep("new.bin", "text/plain", b"x" * len(LARGE))
            await super()._write_pieces(*args)

    file = await Slow(redis).keep("noise.bin", "application/octet-stream", LARGE)
    assert await FileStore(redis).find(file.id) is None
    assert len(await redis.keys("{bot}:file:*")) == 1


async def test_every_key_of_a_file_expires(redis: Redis) -> None:
    await FileStore(redis).keep("a.csv", "text/csv", b"x")
    keys = await redis.keys("{bot}:*")
    assert len(keys) == 4
    assert all([0 < await redis.ttl(key) <= 24 * 3600 for key in keys])


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\r\nSet-Cookie: x.png", "a Set-Cookie_ x.png"),
        ("Umsatz für Öl.png", "Umsatz für Öl.png"),
        ("", "file"),
        (".png", "png"),
        ("x" * 300 + ".csv", "x" * 96 + ".csv"),
    ],
)
async def test_a_name_keeps_nothing_that_means_something_elsewhere(
    redis: Redis, name: str, plain: str
) -> None:
    assert (await FileStore(redis).keep(name, "image/png", b"x")).name == plain
