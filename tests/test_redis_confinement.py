"""Attacks on the wall around people's keys: on every path, nothing outside the prefix is seen or touched."""

import contextlib
import json
import unicodedata
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from bot.chat import BotError
from bot.commands.redis import Operation, Operations, RedisCaller, Set
from bot.commands.redis.operations import All, Delete, Get, Keys, Mset
from bot.config import reserved_keys
from bot.storage.key_value import KeyValueStore

ADMIN = RedisCaller("slack:U0ALICE", "slack:T1:C1")
NAME, SECRET = "outsider", "hunter2"  # in the name and in the value of every key outside
PREFIXES = ["kv:", "*", "k?v[a-z]:", "[^k]*", "\\", "\u00e9:"]

OUTSIDE = [
    *(f"{own}{NAME}" for own in reserved_keys.OWN),
    f"kv{NAME}",
    f"KV:{NAME}",
    f"kv\uff1a{NAME}",  # a colon of another width
    f"\u212av:{NAME}",  # the Kelvin sign, a K after normalisation
    f"e\u0301:{NAME}",  # é in two characters
    f"\x00kv:{NAME}",
    f" kv:{NAME}",
    f"{{kv:}}{NAME}",
    f"{{tag}}{NAME}",
    f"tag:{NAME}",
    f"kxvb:{NAME}",  # what the globs among the prefixes would match
    f"a{NAME}",
    f"/{NAME}",
    f".{NAME}",
]

GLOBS = (
    "*",
    "**",
    "?",
    "?*",
    "[^k]*",
    "[!k]*",
    "[a-z]*",
    "[\\x00-\\xff]*",
    "[",
    "[]",
    "]",
    "[^",
    "\\",
    "\\*",
    "*\\",
)
PATHS = ("../", "../../*", "..", "/", "./*", "..\\", "kv:../*", "kv:*", ":kv:", "%2e%2e%2f", "%00")
TAGS = ("{bot}:*", "{bot}:ready", "{bot}*", "{", "}", "{}", "{kv:}", "}{bot}:", "*{bot}:*")
OWN = (
    "checkpoint:*",
    "*checkpoint*",
    "checkpoint:outsider",
    "thread_memory:hash",
    "write_keys_zset:outsider",
)
CONTROL = ("\x00", "\x00*", "a\x00b", "\n*", "a\nDEL checkpoint:outsider", "\r\n*1\r\n$8\r\nFLUSHALL\r\n")
ALIKE = ("\uff0a", "\u2217", "\u202e*", "\u200b", "\ufeff", "\u0338", "\uff0e\uff0e\uff0f", "\u212a")
FORMS = ("e\u0301", "\u00e9", "\ufb01", unicodedata.normalize("NFKD", "\ufb01"))
HALVES = ("\ud800", "\udfff*", "a\udc00")
CODE = ("'; redis.call('FLUSHALL') --", "$", "$(id)", "`id`", "-1", "0", "true", "null")
LONG = ("k" * 512, "*" * 512, "[" * 512, "\u00fc" * 256, "k" * 513, "k" * 512 * 64, "*a" * 256 * 64)
ATTACKS = (*GLOBS, *PATHS, *TAGS, *OWN, *CONTROL, *ALIKE, *FORMS, *HALVES, *CODE, *LONG)


def named(text: str) -> str:
    """The end of a long attack, for its name in the report."""
    return ascii(text if len(text) < 60 else f"{text[:8]}…{len(text)}")


async def outside(redis: Redis, prefix: str) -> dict[bytes, object]:
    """Everything without the prefix: as Redis would dump it, with how long it stays."""
    names = [bytes(name) async for name in redis.scan_iter() if isinstance(name, bytes)]
    names = sorted(name for name in names if not name.startswith(prefix.encode()))
    async with redis.pipeline() as pipeline:
        for name in names:
            pipeline.dump(name)
            pipeline.pttl(name)
        found = await pipeline.execute()
    return dict(zip(names, zip(found[::2], found[1::2], strict=True), strict=True))


async def plant(redis: Redis, prefix: str) -> None:
    """Put other people's keys beside the prefix, of several types, and one under it."""
    for name in (each for each in OUTSIDE if not each.startswith(prefix)):
        await redis.set(name, SECRET)
    await redis.hset("thread_memory:hash", "question", SECRET)
    await redis.zadd("{bot}:later", {SECRET: 1})
    await redis.json().set("checkpoint:document", "$", {"memory": SECRET})
    await redis.set(f"{prefix}own", "mine")


def every_operation(attack: str) -> Iterator[Operation]:
    """The attack in each place that takes a text."""
    yield from (Get(attack), Set(attack, "x"), Set(attack, attack), Mset({attack: "x", "b": "y"}))
    yield from (Keys(attack), All(), Delete(attack), Mset({"b": attack}), Delete("b"))


def every_line(attack: str) -> Iterator[str]:
    """The attack as it is typed, as it stands and in quotes."""
    quoted = '"' + attack.replace("\\", "\\\\").replace('"', '\\"') + '"'
    for key in (attack, quoted):
        yield from (f"get {key}", f"set {key} x", f"keys {key}", f"del {key}", f"set b {key}", attack)
    yield f"mset {json.dumps({attack: 'x'})}"


async def all_that_comes_back(operations: Operations, attack: str) -> str:
    """Return the answers of every path to the attack."""
    answers: list[object] = []
    for operation in every_operation(attack):
        with contextlib.suppress(BotError):
            answers.append(await operations.run(operation, ADMIN))
    answers += [await operations.answer_text(line, ADMIN) for line in every_line(attack)]
    return ascii(answers)


async def all_that_is_listed(operations: Operations, attack: str) -> set[str]:
    """The keys that any path tells of."""
    keys = set(await operations.suggest(attack, ADMIN))
    for operation in (Keys(attack), All()):
        with contextlib.suppress(BotError):
            keys |= set((await operations.run(operation, ADMIN)).fields["result"])
    return keys


async def assert_confined(redis: Redis, prefix: str, attacks: Sequence[str]) -> None:
    """Run the attacks on every path, and look at everything afterwards."""
    await plant(redis, prefix)
    operations = Operations(KeyValueStore(redis, prefix), lambda user: True)
    before = await outside(redis, prefix)
    assert len(before) > len(reserved_keys.OWN)
    for attack in attacks:
        assert SECRET not in await all_that_comes_back(operations, attack), named(attack)
        for key in await all_that_is_listed(operations, attack):
            assert await redis.exists(prefix + key), named(attack)
    assert await outside(redis, prefix) == before
    assert (await operations.run(Get("own"), ADMIN)).fields["result"] == "mine"


@pytest.mark.parametrize("prefix", PREFIXES, ids=ascii)
async def test_no_attack_reads_lists_writes_or_deletes_outside_the_prefix(redis: Redis, prefix: str) -> None:
    await assert_confined(redis, prefix, ATTACKS)


texts = st.text(st.one_of(st.characters(), st.sampled_from("*?[]^-\\{}:./\0\r\n$kvbot")), max_size=40)
prefixes = texts.filter(lambda text: text.isprintable() and reserved_keys.find_overlap(text) is None)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prefix=prefixes, attack=texts.filter(lambda text: text != "own"))
async def test_no_text_under_any_prefix_reaches_another_key(redis: Redis, prefix: str, attack: str) -> None:
    """Any prefix that is taken at the start confines any text."""
    await redis.flushall()
    await assert_confined(redis, prefix, [attack])


async def test_a_key_of_half_a_megabyte_is_refused_with_a_sentence(redis: Redis) -> None:
    """It is not cut to a shorter key, which might be another's."""
    operations = Operations(KeyValueStore(redis, "kv:"), lambda user: True)
    answer = await operations.answer_text(f"set {'k' * 512 * 1024} x", ADMIN)
    assert answer == "A key must have 1 to 512 bytes; this one has 524,288."
    assert await redis.keys("*") == []


async def test_equal_looking_keys_are_different_keys(redis: Redis) -> None:
    """Nothing is normalised: é in one character and in two are two keys, each found as it was stored."""
    operations = Operations(KeyValueStore(redis, "kv:"), lambda user: True)
    for number, key in enumerate(("\u00e9", "e\u0301", "K", "\u212a")):
        await operations.run(Set(key, str(number)), ADMIN)
    assert [
        (await operations.run(Get(key), ADMIN)).fields["result"]
        for key in ("\u00e9", "e\u0301", "K", "\u212a")
    ] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("own", reserved_keys.OWN)
def test_a_prefix_that_overlaps_own_keys_is_no_prefix(redis: Redis, own: str) -> None:
    """Neither the beginning of a family nor what lies within it."""
    for prefix in ("", own[:1], own[:-1], own, f"{own}x"):
        with pytest.raises(ValueError, match="would give access to keys of the bot"):
            KeyValueStore(redis, prefix)
