"""Operations as people type them, what they are told, and who may run them."""

import contextlib
import json
import logging
from typing import Any
from unittest.mock import AsyncMock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from bot.chat import Json, StorageDown
from bot.commands.redis import InvalidArgument, Operation, Operations, RedisCaller, Set
from bot.commands.redis.operations import MAX_KEYS, All, Delete, Get, Info, Keys, Mset
from bot.commands.redis.parser import HELP, parse
from bot.commands.redis.runner import NotAllowed
from bot.commands.redis.texts import MOST_SHOWN, code_block, inline_code, line
from bot.discord.markdown.pages import split
from bot.slack.mrkdwn import mrkdwn
from bot.storage.key_value import KeyValueStore, Listing, Value, without_values


class Returning(KeyValueStore):
    """Store whose reads and writes all return the same result."""

    def __init__(self, result: object) -> None:
        super().__init__(Redis(), "kv:")
        for name in ("set", "get", "delete", "keys", "all", "mset", "info"):
            setattr(self, name, AsyncMock(return_value=result))


async def described(operation: Operation, result: object) -> str:
    """Return the words for what the store returns."""
    return (await operation.run(Returning(result))).text


ADMIN, OTHER = RedisCaller("slack:U0ALICE", "slack:T1:C1"), RedisCaller("slack:U0BOB", "slack:T1:C1")


@pytest.mark.parametrize(
    ("text", "operation"),
    [
        ("get greeting", Get("greeting")),
        ("  GET   greeting ", Get("greeting")),
        ('get "my key"', Get("my key")),
        ("get “my key”", Get("my key")),
        (r'get "a \"b\" \\ c"', Get(r'a "b" \ c')),
        ('get ""', Get("")),
        ("get it's", Get("it's")),
        ('get a"b', Get('a"b')),
        ("del greeting", Delete("greeting")),
        ("delete greeting", Delete("greeting")),
        ("keys", Keys("*")),
        ("keys user:*", Keys("user:*")),
        ('keys "a b*"', Keys("a b*")),
        ("all", All()),
        ("info", Info()),
        ("set k v", Set("k", "v")),
        ("set k  several  words\n and lines", Set("k", "several  words\n and lines")),
        ('set k "quoted"', Set("k", '"quoted"')),
        ('set "my key" v', Set("my key", "v")),
        ('set k {"a": [1, 2.50]}', Set("k", '{"a": [1, 2.50]}')),
        ("set k v --ttl 60", Set("k", "v", 60)),
        ("set k v --ttl=60", Set("k", "v", 60)),
        ("set k v \u2014ttl 60 ", Set("k", "v", 60)),
        ("set k v --ttl -1", Set("k", "v", -1)),
        ("set k --ttl 5 is an option", Set("k", "--ttl 5 is an option")),
        ("set k v--ttl 60", Set("k", "v--ttl 60")),
        ("set k v --ttl = 60", Set("k", "v --ttl = 60")),
        (f"set k --ttl{'=' * 50_000} x", Set("k", f"--ttl{'=' * 50_000} x")),
        ("set k", Set("k", "")),
        ("set k --ttl 60", Set("k", "", 60)),
        ('mset {"a": "1", "b c": "x"}', Mset({"a": "1", "b c": "x"})),
        ('mset {"a": "1"} --ttl 60', Mset({"a": "1"}, 60)),
        ('mset\n{\n"a": "1"}', Mset({"a": "1"})),
    ],
)
def test_what_is_typed_becomes_an_operation(text: str, operation: Operation) -> None:
    """The value is the rest of the line as it stands; only a time limit at its end is taken off."""
    assert parse(text) == operation


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Commands for Redis"),
        ("help", "Commands for Redis"),
        ("flushall", "There is no command `flushall`"),
        ("fl`us`h", "There is no command"),
        ("get", "key is missing"),
        ("del", "key is missing"),
        ("set", "key is missing"),
        ("get two words", "quotes"),
        ('get "no end', "closing quote of the key"),
        ('get "a"b', "closing quote of the key"),
        ("all of them", "`all` takes no arguments"),
        ("info memory", "`info` takes no arguments"),
        ("set k v --ttl", "seconds after `--ttl` are missing"),
        ("set k v --ttl soon", "whole number"),
        ("set k v --ttl 1.5", "whole number"),
        ("set k v --ttl ٣", "whole number"),
        ("set k v --ttl " + "9" * 5_000, "whole number"),
        ("mset", "not valid JSON"),
        ("mset a=1", "not valid JSON at character 1"),
        ("mset {“a”: “1”}", "typographic"),
        ('mset ["a"]', "JSON object"),
        ('mset {"a": 1}', "`a` is not a text"),
        ('mset {"a": {"b": "c"}}', "`a` is not a text"),
        ("mset " + "[" * 100_000, "not valid JSON"),
        ("mset " + "9" * 10_000, "not valid JSON"),
    ],
)
def test_what_is_not_understood_gets_a_sentence(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse(text)
    assert words in str(raised.value)


@given(st.text(), st.text())
def test_nothing_that_is_typed_breaks_the_parser(word: str, rest: str) -> None:
    for text in (f"{word} {rest}", f"set {rest}", f"get {rest}", f'mset {{"{rest}'):
        with contextlib.suppress(InvalidArgument):
            parse(text)


@given(key=st.text(st.characters(codec="utf-8"), min_size=1), value=st.text(st.characters(codec="utf-8")))
def test_a_quoted_key_and_a_value_come_through_unchanged(key: str, value: str) -> None:
    """Also with quotes, backslashes and line ends in them."""
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert parse(f"get {quoted}") == Get(key)
    if value.strip() == value != "":
        assert parse(f"set {quoted} {value}.") == Set(key, f"{value}.")


@pytest.mark.parametrize(
    ("operation", "result", "words"),
    [
        (Set("k", "v"), None, "Stored `k`."),
        (Set("k", "v", 60), None, "Stored `k` for 60 seconds."),
        (Get("k"), None, "There is nothing under `k`."),
        (Get("k"), Value(""), "`k`: an empty text."),
        (Get("k"), Value("v"), "`k`:\n```\nv\n```"),
        (Get("k"), Value("v", ttl=1), "`k`, 1 second left:\n```\nv\n```"),
        (Get("k"), Value('{"a":[1,2]}'), '`k`:\n```\n{\n  "a": [\n    1,\n    2\n  ]\n}\n```'),
        (Get("k"), Value("{}", "json"), "`k` (a JSON document):\n```\n{}\n```"),
        (
            Get("k"),
            Value(None, "hash"),
            "`k` holds a hash: I can delete it, but show only text and JSON documents.",
        ),
        (Delete("k"), True, "Deleted `k`."),
        (Delete("k"), False, "There is no `k`."),
        (Keys(), ["a", "b c"], "Keys (2):\n```\na\nb c\n```"),
        (Keys("a*"), [], "There are no keys that match `a*`."),
        (All(), Listing({"a": "x\ny"}, is_cut=False), 'Keys with text (1):\n```\na = "x\\ny"\n```'),
        (
            All(),
            Listing({}, is_cut=False, left_out=2),
            "There are no keys with text. 2 keys left out: not text.",
        ),
        (
            All(),
            Listing({"a": "b"}, is_cut=True),
            "Keys with text (more than 1):\n```\na = b\n```\n"
            "Shown: the first 1. Use `keys PATTERN` to narrow them down.",
        ),
        (Mset({"a": "1", "b": "2"}, 5), 2, "Stored 2 values for 5 seconds."),
        (
            Info(),
            {"version": "8.2", "modules": ["a 1", "b 2"], "used_memory_mib": 1.5},
            "- **version** 8.2\n- **modules** a 1, b 2\n- **used memory mib** 1.5",
        ),
    ],
)
async def test_the_result_is_told_in_words(operation: Operation, result: object, words: str) -> None:
    assert await described(operation, result) == words


@pytest.mark.parametrize("text", ["[1e400]", "[1.10]", '{"a":1,"a":2}', '["\\u00e9"]', "{", "[" * 100_000])
async def test_json_that_would_change_is_shown_as_it_is(text: str) -> None:
    """Pretty printing must not round numbers, drop keys or spell characters anew."""
    assert f"\n{text[:MOST_SHOWN]}\n" in await described(Get("k"), Value(text))


async def test_a_long_value_is_cut_with_a_word_about_it() -> None:
    shown = await described(Get("k"), Value("x" * 1_000_000))
    assert len(shown) < MOST_SHOWN + 200
    assert "1,000,000 characters" in shown
    listing = await described(Keys(), [f"{'k' * 512}{number}" for number in range(MAX_KEYS + 1)])
    assert len(listing) < MOST_SHOWN + 200
    assert "Keys (more than 1,000):" in listing
    assert "Shown: the first 24." in listing


nasty = st.text(st.one_of(st.characters(), st.sampled_from("`~\n\r \\*<@!>&[]()")), max_size=80)


@given(key=nasty, value=nasty)
async def test_a_value_cannot_leave_its_code_block(key: str, value: str) -> None:
    """Neither on Discord nor on Slack: there are only our own fences, and they are closed."""
    for shown in (
        await described(Get(key), Value(value or "x")),
        await described(Keys(key), [key, value]),
        await described(All(), Listing({key: value}, is_cut=False)),
    ):
        assert shown.count("```") == 2
        assert shown.endswith("\n```")
        assert shown.count("```") % 2 == 0
        before = shown.partition("```")[0]
        assert before.count("`") % 2 == 0
        assert before.count("\n") == 1
        assert "<" not in mrkdwn(shown)


@pytest.mark.parametrize("run", ["```", "````", "`````", "``````", "a```\n```b", "```\n<!channel>"])
def test_no_run_of_backticks_ends_the_block(run: str) -> None:
    """The typed text is all there, but for invisible characters between backticks."""
    assert code_block(run).count("```") == 2
    assert code_block(run).replace("\u200b", "") == f"```\n{run}\n```"


def test_names_are_plain_where_they_can_be() -> None:
    """Else a JSON string, in which nothing is hidden."""
    assert inline_code("user:1 ü") == "`user:1 ü`"
    assert line("a\nb") == '"a\\nb"'
    assert inline_code("a`b") == '`"a\\u0060b"`'
    assert line(" a") == '" a"'
    assert line("\u202ea") == '"\\u202ea"'
    assert line("\ud800") == '"\\ud800"'
    assert line("") == '""'
    assert line("k" * 200) == "k" * 120 + "…"


def test_code_is_left_as_it_is_on_slack() -> None:
    """Bold, lists and links are Markdown only outside of code."""
    text = "- **x** `**y**`:\n```\n- **z** [a](https://b.c) <!channel>\n```"
    shown = "• *x* `**y**`:\n```\n- **z** [a](https://b.c) &lt;!channel&gt;\n```"
    assert mrkdwn(text) == shown


async def test_an_answer_fits_discords_messages() -> None:
    """A long value comes in a few messages, each with its own closed block."""
    pieces = split(await described(Get("k"), Value("word\n" * 1_000)))
    assert len(pieces) <= 3
    assert all(piece.count("```") % 2 == 0 for piece in pieces)


@pytest.fixture
def operations(redis: Redis) -> Operations:
    return Operations(KeyValueStore(redis, "kv:"), lambda user: user == ADMIN.author)


def audit(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The audit lines so far, each with its own fields alone."""
    own = ("by", "platform", "where", "operation", "keys", "key_count", "pattern", "ttl", "outcome", "reason")
    lines = [each.__dict__ for each in caplog.records if each.message == "redis operation"]
    return [{name: line[name] for name in own if name in line} for line in lines]


WHO = {"by": "slack:U0ALICE", "platform": "slack", "where": "slack:T1:C1"}


async def test_an_administrator_is_answered_and_it_is_logged(
    operations: Operations, caplog: pytest.LogCaptureFixture
) -> None:
    """Each operation leaves one line, with its keys and never with a value."""
    caplog.set_level(logging.INFO, "bot")
    answers = [
        await operations.answer_text(text, ADMIN)
        for text in (
            "set greeting hunter2 --ttl 60",
            "get greeting",
            "keys g*",
            'mset {"a": "hunter2", "b\\n": "hunter2"}',
            "all",
            "del greeting",
            "info",
        )
    ]
    assert answers[:3] == [
        "Stored `greeting` for 60 seconds.",
        "`greeting`, 60 seconds left:\n```\nhunter2\n```",
        "Keys that match `g*` (1):\n```\ngreeting\n```",
    ]
    assert audit(caplog) == [
        WHO | {"operation": "set", "keys": ["greeting"], "ttl": 60, "outcome": "done"},
        WHO | {"operation": "get", "keys": ["greeting"], "outcome": "done"},
        WHO | {"operation": "keys", "pattern": "g*", "outcome": "done"},
        WHO | {"operation": "mset", "keys": ["a", '"b\\n"'], "key_count": 2, "ttl": None, "outcome": "done"},
        WHO | {"operation": "all", "outcome": "done"},
        WHO | {"operation": "delete", "keys": ["greeting"], "outcome": "done"},
        WHO | {"operation": "info", "outcome": "done"},
    ]
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("get greeting", {"operation": "get", "keys": ["greeting"]}),
        ("set greeting hunter2", {"operation": "set", "keys": ["greeting"], "ttl": None}),
        ("set greeting", {"operation": "set", "keys": ["greeting"], "ttl": None}),
        ("del greeting", {"operation": "delete", "keys": ["greeting"]}),
        ('mset {"a": "hunter2"}', {"operation": "mset", "keys": ["a"], "key_count": 1, "ttl": None}),
        ("keys", {"operation": "keys", "pattern": "*"}),
        ("all", {"operation": "all"}),
        ("info", {"operation": "info"}),
        ("", {"operation": "unknown"}),
        ("hunter2", {"operation": "unknown"}),
    ],
)
async def test_others_are_refused_and_that_is_logged_too(
    operations: Operations, redis: Redis, caplog: pytest.LogCaptureFixture, text: str, logged: dict[str, Json]
) -> None:
    """They learn why and whom to ask, and nothing else; nothing is read or written."""
    caplog.set_level(logging.INFO, "bot")
    await redis.set("kv:greeting", "secret")
    answer = await operations.answer_text(text, OTHER)
    assert isinstance(answer, str)
    assert "slack:U0BOB to ADMIN_USERS" in answer
    assert "secret" not in answer
    assert HELP not in answer
    assert audit(caplog) == [WHO | {"by": "slack:U0BOB"} | logged | {"outcome": "refused"}]
    assert "hunter2" not in caplog.text
    assert await redis.keys("*") == [b"kv:greeting"]


async def test_every_way_to_the_store_checks_who_asks(operations: Operations, redis: Redis) -> None:
    await redis.set("kv:greeting", "secret")
    with pytest.raises(NotAllowed, match="ADMIN_USERS"):
        await operations.run(Get("greeting"), OTHER)
    assert "ADMIN_USERS" in await operations.answer(Get("greeting"), OTHER)
    assert await operations.suggest("", OTHER) == []
    assert await operations.suggest("", ADMIN) == ["greeting"]


@pytest.mark.parametrize("text", ["set greeting hunter2", 'mset {"a": "hunter2", "b": "hunter2"}'])
async def test_a_redis_that_refuses_a_value_does_not_get_it_into_the_log(
    operations: Operations, redis: Redis, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """Fault: redis-py quotes the command, with its value, in the error of a transaction."""
    caplog.set_level(logging.INFO, "bot")
    await redis.config_set("min-replicas-to-write", 1)
    try:
        answer = await operations.answer_text(text, ADMIN)
    finally:
        await redis.config_set("min-replicas-to-write", 0)
    reason = "Redis reported an error: NOREPLICAS Not enough good replicas to write."
    assert answer == reason
    assert [(each["outcome"], each["reason"]) for each in audit(caplog)] == [("failed", reason)]
    assert "hunter2" not in caplog.text


async def test_a_redis_that_refuses_a_document_does_not_get_it_into_the_log(
    operations: Operations, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot")
    await redis.acl_setuser("default", enabled=True, nopass=True, commands=["-json.set"])
    try:
        with pytest.raises(StorageDown, match="has no permissions to run") as raised:
            await operations.run(Set("greeting", {"a": "hunter2"}), ADMIN)
    finally:
        await redis.acl_setuser("default", enabled=True, nopass=True, commands=["+json.set"])
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in caplog.text


def test_the_arguments_of_an_unknown_command_are_left_out() -> None:
    """A Redis without RedisJSON quotes them."""
    error = "unknown command 'JSON.SET', with args beginning with: 'kv:k' '$' 'hunter2' "
    quoted = f"Command # 1 (JSON.SET kv:k $ hunter2) of pipeline caused error: {(error,)}"
    assert {without_values(error), without_values(quoted)} == {"unknown command 'JSON.SET'"}
    assert without_values("Error 111: refused (busy)") == "Error 111: refused (busy)"


async def test_what_cannot_be_stored_and_a_dead_redis_are_told_and_logged(
    operations: Operations, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot")
    assert (
        await operations.answer_text("set k v --ttl 0", ADMIN) == "A ttl is 1 to 315,360,000 seconds, not 0."
    )
    with pytest.raises(InvalidArgument) as raised:
        await operations.run(Set("", "v"), ADMIN)
    assert raised.value.field == "key"
    async with Redis.from_url("redis://127.0.0.1:1") as nowhere:
        dead = Operations(KeyValueStore(nowhere, "kv:"), lambda user: True)
        assert "Redis reported an error" in str(await dead.answer_text("get k", ADMIN))
        with pytest.raises(StorageDown):
            await dead.run(Info(), ADMIN)
        assert await dead.suggest("k", ADMIN) == []
    outcomes = [line["outcome"] for line in audit(caplog)]
    assert outcomes == ["invalid", "invalid", "failed", "failed"]
    assert "connect" in audit(caplog)[-1]["reason"]


async def test_suggestions_contain_what_was_typed(operations: Operations, redis: Redis) -> None:
    """Those that begin with it come first; wildcards mean themselves; what cannot be chosen is left out."""
    names = ["user:1", "user:2", "superuser", "a*b", "ab", "line\nend", " space", "x" * 512]
    await redis.mset({f"kv:{name}": "1" for name in names})
    await redis.set(b"kv:user\xff", "1")
    assert await operations.suggest("user", ADMIN) == ["user:1", "user:2", "superuser"]
    assert await operations.suggest("*", ADMIN) == ["a*b"]
    assert await operations.suggest("\n", ADMIN) == []
    await redis.mset({f"kv:many{number}": "1" for number in range(500)})
    assert len(await operations.suggest("many", ADMIN)) == 25


async def test_a_value_of_each_kind_is_shown_as_what_it_is(operations: Operations, redis: Redis) -> None:
    """A RedisJSON document as JSON; of others the type, which is not nothing."""
    await redis.json().set("kv:document", "$", {"name": "Ada", "tags": ["a"]})
    await redis.rpush("kv:list", "x")
    await redis.zadd("kv:ranking", {"x": 1})
    await redis.xadd("kv:stream", {"x": 1})
    shown = await operations.answer_text("get document", ADMIN)
    assert isinstance(shown, str)
    assert json.loads(shown.split("```")[1]) == {"name": "Ada", "tags": ["a"]}
    for key, kind in (("list", "list"), ("ranking", "zset"), ("stream", "stream")):
        assert f"holds a {kind}" in str(await operations.answer_text(f"get {key}", ADMIN))
    assert "3 keys left out" in str(await operations.answer_text("all", ADMIN))
    assert await operations.answer_text("del list", ADMIN) == "Deleted `list`."
