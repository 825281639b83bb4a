"""The key-value store on a real Redis: what it does, and that nothing outside its prefix can be named."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from bot.chat import StorageDown
from bot.storage.client import open_redis
from bot.storage.health import ping
from bot.storage.key_value import (
    MAX_BATCH,
    MAX_KEY_BYTES,
    MAX_TTL_SECONDS,
    MAX_VALUE_BYTES,
    InvalidArgument,
    KeyValueStore,
    Listing,
    Value,
)

OUTSIDE = {b"checkpoint:secret": b"1", b"kv": b"2", b"kvx": b"3", b"KV:a": b"4", b"{kv:}": b"5"}


@pytest.fixture
async def store(redis: Redis) -> KeyValueStore:
    """A store with other people's keys beside it."""
    await redis.mset(OUTSIDE)
    return KeyValueStore(redis, "kv:")


async def others(redis: Redis) -> dict[bytes, object]:
    """Return the values in Redis outside the prefix."""
    names = [bytes(name) for name in await redis.keys("*") if isinstance(name, bytes)]
    outside = [name for name in names if not name.startswith(b"kv:")]
    return dict(zip(outside, await redis.mget(outside), strict=True))


async def test_set_get_delete(store: KeyValueStore, redis: Redis) -> None:
    """The prefix is added and removed by the store."""
    await store.set("greeting", "hello", None)
    assert await redis.get("kv:greeting") == b"hello"
    assert await redis.ttl("kv:greeting") == -1
    assert await store.get("greeting") == Value("hello")
    assert await store.delete("greeting") is True
    assert await store.delete("greeting") is False
    assert await store.get("greeting") is None


async def test_ttl_is_in_seconds_and_ends_with_a_new_value(store: KeyValueStore, redis: Redis) -> None:
    """A value without ttl stays, also where one with a ttl was."""
    await store.set("a", "1", 100)
    assert 98 <= await redis.ttl("kv:a") <= 100
    await store.set("a", "2", None)
    assert await redis.ttl("kv:a") == -1
    assert await store.mset({"b": "1", "c": "2"}, 50) == 2
    assert 48 <= await redis.ttl("kv:c") <= 50


async def test_keys_by_glob_within_the_prefix(store: KeyValueStore) -> None:
    """Globs work on the part that people see, in order, up to the limit."""
    await store.mset({key: key for key in ("b1", "a1", "a2", "a*", "[x]", "deep:a1")}, None)
    assert await store.keys("a?", 10) == ["a*", "a1", "a2"]
    assert await store.keys("a\\*", 10) == ["a*"]
    assert await store.keys("*:a1", 10) == ["deep:a1"]
    assert await store.keys("[ab]1", 10) == ["a1", "b1"]
    assert len(await store.keys("*", 4)) == 4
    assert await store.keys("*", 0) == []
    assert await store.keys("nothing", 10) == []


async def test_all_has_keys_with_their_values(store: KeyValueStore, redis: Redis) -> None:
    """Keys of another type, which somebody else put there, are counted."""
    await store.mset({"b": "2", "a": "ü"}, None)
    await redis.rpush("kv:list", "x")
    assert await store.all(10) == Listing({"a": "ü", "b": "2"}, is_cut=False, left_out=1)
    assert await store.all(2) == Listing({"a": "ü", "b": "2"}, is_cut=True, left_out=0)


async def test_a_listing_of_long_values_is_cut(store: KeyValueStore, redis: Redis) -> None:
    """A thousand of the largest values would be a gigabyte in the memory of the process."""
    for number in range(9):
        await store.set(f"k{number}", "v" * MAX_VALUE_BYTES)
    await redis.rpush("kv:a list", "x")
    listing = await store.all(100)
    assert list(listing.values) == [f"k{number}" for number in range(8)]
    assert (listing.is_cut, listing.left_out) == (True, 1)


async def test_a_value_is_told_with_its_type_and_time(store: KeyValueStore, redis: Redis) -> None:
    """Also by a client that was told to decode the answers of the module."""
    await redis.json().set("kv:document", "$", {"a": [1, "ü"]})
    await redis.sadd("kv:set", "x")
    await redis.set("kv:bytes", b"a\xff")
    await store.set("brief", "x", 100)
    assert await store.get("document") == Value('{"a":[1,"ü"]}', "json")
    assert await store.get("set") == Value(None, "set")
    assert await store.get("bytes") == Value("a\ufffd")
    brief = await store.get("brief")
    assert brief is not None
    assert brief.ttl in (99, 100)


async def test_a_search_finds_what_contains_a_text_in_the_time_it_has(store: KeyValueStore) -> None:
    await store.mset(dict.fromkeys(("a*b", "aab", "ba", "c"), "x"))
    assert await store.search("a", 10, 10) == ["a*b", "aab", "ba"]
    assert await store.search("a*", 10, 10) == ["a*b"]
    assert len(await store.search("a", 2, 10)) == 2
    assert await store.search("a", 10, 0) == []


async def test_many_keys_are_listed_once_each_without_keys_command(
    store: KeyValueStore, redis: Redis
) -> None:
    """Three thousand keys come by SCAN; KEYS, which blocks the server, is never sent."""
    for start in range(0, 3_000, MAX_BATCH):
        await store.mset({f"key{number:05}": "x" for number in range(start, start + MAX_BATCH)}, None)
    await redis.config_resetstat()
    found = await store.keys("*", 5_000)
    assert found == [f"key{number:05}" for number in range(3_000)]
    listing = await store.all(2_500)
    assert (len(listing.values), listing.is_cut) == (2_500, True)
    statistics = await redis.info("commandstats")
    assert "cmdstat_keys" not in statistics
    assert statistics["cmdstat_scan"]["calls"] > 1


async def test_mset_is_one_transaction(store: KeyValueStore, redis: Redis) -> None:
    """All values or none: what cannot be stored is refused before anything is sent."""
    await redis.config_resetstat()
    assert await store.mset({str(number): "x" for number in range(100)}, None) == 100
    assert (await redis.info("commandstats"))["cmdstat_exec"]["calls"] == 1
    with pytest.raises(InvalidArgument):
        await store.mset({"good": "1", "": "2"}, None)
    with pytest.raises(InvalidArgument, match="nothing to store"):
        await store.mset({}, None)
    assert await store.get("good") is None


@pytest.mark.parametrize(
    ("key", "value", "ttl"),
    [
        ("", "x", None),
        ("k" * (MAX_KEY_BYTES + 1), "x", None),
        ("ü" * (MAX_KEY_BYTES // 2 + 1), "x", None),
        ("k" * 512 * 1024, "x", None),
        ("\ud800", "x", None),
        ("k", "v" * (MAX_VALUE_BYTES + 1), None),
        ("k", "\udfff", None),
        ("k", "x", 0),
        ("k", "x", -5),
        ("k", "x", MAX_TTL_SECONDS + 1),
        ("k", "x", 10**30),
    ],
)
async def test_what_is_outside_the_limits_is_refused(
    store: KeyValueStore, redis: Redis, key: str, value: str, ttl: int | None
) -> None:
    """Each refusal is a sentence, and nothing was stored."""
    with pytest.raises(InvalidArgument, match=r"\.$"):
        await store.set(key, value, ttl)
    with pytest.raises(InvalidArgument, match=r"\.$"):
        await store.mset({key: value}, ttl)
    assert await redis.keys("kv:*") == []


async def test_largest_key_and_value_are_taken(store: KeyValueStore) -> None:
    """The limits themselves are inside."""
    key, value = "k" * MAX_KEY_BYTES, "v" * MAX_VALUE_BYTES
    await store.set(key, value, MAX_TTL_SECONDS)
    assert await store.get(key) == Value(value, ttl=MAX_TTL_SECONDS)


@pytest.mark.parametrize(
    "pattern", ["", "*", "[", "]", "\\", "*\\", "../*", "{kv:}*", "?" * 512, "[^a]*", "\0"]
)
async def test_patterns_never_leave_the_prefix(store: KeyValueStore, pattern: str) -> None:
    """Whatever the glob, only the store's own keys are seen."""
    await store.set("own", "x", None)
    assert set(await store.keys(pattern, 100)) <= {"own"}


async def test_too_long_pattern_is_refused(store: KeyValueStore) -> None:
    """A glob of a megabyte is not sent."""
    with pytest.raises(InvalidArgument):
        await store.keys("*" * 1_000_000, 10)


@pytest.mark.parametrize("prefix", ["kv:", "*", "k?v[a-z]:", "\\", "ops-[x]:", "{tag}"])
async def test_glob_characters_in_the_prefix_mean_themselves(redis: Redis, prefix: str) -> None:
    """A prefix with an asterisk is no wildcard."""
    await redis.mset(OUTSIDE)
    store = KeyValueStore(redis, prefix)
    await store.set("own", "x", None)
    assert await store.keys("*", 100) == ["own"]
    assert (await store.all(100)).values == {"own": "x"}
    assert await store.search("ow", 100, 10) == ["own"]


def test_empty_prefix_is_refused(redis: Redis) -> None:
    """Without a prefix the bot's own keys could be named."""
    with pytest.raises(ValueError, match="prefix"):
        KeyValueStore(redis, "")


nasty = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("*?[]\\{}:./\0\r\n$")), max_size=30)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=nasty.filter(bool), value=nasty)
async def test_no_key_touches_another(store: KeyValueStore, redis: Redis, key: str, value: str) -> None:
    """Any key is stored, listed and removed as itself, and the keys outside stay as they are."""
    try:
        await store.set(key, value, None)
    except InvalidArgument:
        return
    assert await store.get(key) == Value(value)
    assert await store.keys("*", 10) == [key]
    await store.keys(key, 10)
    assert await store.delete(key)
    assert await others(redis) == OUTSIDE


async def test_info_is_evidence(store: KeyValueStore) -> None:
    """Version, modules, memory, policy, persistence, clients and the number of own keys, as JSON."""
    await store.mset({"a": "1", "b": "2"}, None)
    info = await store.info()
    assert json.loads(json.dumps(info)) == info
    assert int(info["version"].split(".")[0]) >= 7
    assert any(each.startswith("search ") for each in info["modules"])
    assert info["maxmemory_policy"] == "noeviction"
    assert info["persistence"].startswith("append-only file")
    assert info["used_memory_mib"] > 0
    assert info["connected_clients"] >= 1
    assert (info["keys"], info["keys_complete"]) == (2, True)


async def test_ping_is_in_milliseconds(redis: Redis) -> None:
    """A round trip on this machine takes less than a second, and more than nothing."""
    assert 0 < await ping(redis) < 1_000


async def test_full_redis_is_told(store: KeyValueStore, redis: Redis) -> None:
    """With noeviction Redis refuses to store more; the person is told so."""
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StorageDown, match="no memory left"):
            await store.set("a", "1", None)
    finally:
        await redis.config_set("maxmemory", 0)


async def test_unreachable_redis_is_told() -> None:
    """A Redis that is not there ends every operation in a sentence, not in the client's error."""
    async with Redis.from_url("redis://127.0.0.1:1") as nowhere:
        store = KeyValueStore(nowhere, "kv:")
        for operation in (store.get("a"), store.info(), store.keys("*", 1), store.mset({"a": "1"}, None)):
            with pytest.raises(StorageDown):
                await operation


async def test_concurrent_operations_keep_their_values(redis_url: str, redis: Redis) -> None:
    """A hundred callers on a pool of four do not mix."""
    async with open_redis(redis_url, pool_size=4) as client:
        store = KeyValueStore(client, "kv:")

        async def round_trip(number: int) -> str | None:
            await store.set(f"k{number}", str(number), 60)
            value = await store.get(f"k{number}")
            return value.text if value else None

        answers = await asyncio.gather(*(round_trip(number) for number in range(100)))
    assert answers == [str(number) for number in range(100)]
