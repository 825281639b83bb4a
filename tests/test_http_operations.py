"""Redis operations over HTTP: results with their types, and errors in their own words."""

import logging

import pytest
from redis.asyncio import Redis

from bot.chat import BotError, Json, RateLimited, StorageDown, Unreachable
from bot.storage.key_value import KeyValueStore, Value
from tests.support import http_worker
from tests.support.http_worker import Setup, serve_chat

setup = http_worker.setup


class FailingStore(KeyValueStore):
    """Raises `error` from `get`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(Redis(), "kv:")
        self._error = error

    async def get(self, key: str) -> Value | None:
        raise self._error


async def test_each_operation_answers_with_its_result(setup: Setup, redis: Redis) -> None:
    async def result(operation: str, **fields: Json) -> Json:
        status, body = await setup.direct(operation=operation, **fields)
        assert (status, body["status"], body["operation"]) == (200, "success", operation)
        return body["result"]

    assert await result("set", key="test", value="hello") is True
    assert await result("get", key="test") == "hello"
    assert await result("get", key="nothing") is None
    assert await result("set", key="brief", value="", ttl=60) is True
    assert await result("mset", data={"a": "1", "b": "2"}, ttl=5) == 2
    assert await result("keys") == ["a", "b", "brief", "test"]
    assert await result("keys", pattern="t*") == ["test"]
    assert await result("all") == {"test": "hello", "brief": "", "a": "1", "b": "2"}
    assert await result("delete", key="test") is True
    assert await result("delete", key="test") is False
    assert (await result("info"))["prefix"] == "kv:"
    assert await redis.keys("*test*") == []
    assert 58 <= await redis.ttl("kv:brief") <= 60


async def test_what_is_no_plain_text_is_told_with_its_type(setup: Setup, redis: Redis) -> None:
    """A value that ends tells how many seconds it has left; plain ones tell nothing but their text."""
    await redis.json().set("kv:document", "$", {"a": 1})
    await redis.hset("kv:hash", "field", "x")
    await setup.direct(operation="set", key="text", value="x")
    await setup.direct(operation="set", key="brief", value="x", ttl=60)

    async def get(key: str) -> dict[str, Json]:
        return (await setup.direct(operation="get", key=key))[1]

    common = {"status": "success", "operation": "get"}
    assert await get("text") == common | {"result": "x", "value": "x"}
    assert await get("document") == common | {"result": '{"a":1}', "value": {"a": 1}, "type": "json"}
    assert await get("hash") == common | {"result": None, "value": None, "type": "hash"}
    assert await get("brief") == common | {"result": "x", "value": "x", "ttl": 60}


@pytest.mark.parametrize(
    "value",
    ["hello", "5", '{"a": 1}', "", 5, 2**53 + 1, -0.5, True, None, [], {}, {"a": [1, {"ü": None}]}, "\x00"],
    ids=repr,
)
async def test_any_json_value_comes_back_as_it_was(setup: Setup, value: Json) -> None:
    """Alone and in a listing; a text that looks like JSON stays a text. It can be replaced by any other."""
    for other in ("text", [1]):
        await setup.direct(operation="set", key="k", value=other)
        await setup.direct(operation="set", key="k", value=value, ttl=60)
        _, body = await setup.direct(operation="get", key="k")
        assert body["value"] == value
        assert type(body["value"]) is type(value)
        assert 58 <= body["ttl"] <= 60
    await setup.direct(operation="mset", data={"k": value, "l": value})
    _, body = await setup.direct(operation="all")
    assert body["result"] == {"k": value, "l": value}
    assert "ttl" not in (await setup.direct(operation="get", key="k"))[1]


async def test_an_operation_says_what_it_did(setup: Setup) -> None:
    """In a sentence beside the result."""
    body = {"key": "test", "value": "hello"}
    assert (await setup.direct(operation="set", **body))[1]["message"] == "Stored `test`."
    assert (await setup.direct(operation="delete", key="test"))[1]["message"] == "Deleted `test`."
    assert (await setup.direct(operation="delete", key="test"))[1]["message"] == "There is no `test`."


async def test_all_may_be_asked_for_by_a_pattern(setup: Setup) -> None:
    await setup.direct(operation="mset", data={"user:1": "a", "user:2": "b", "order:1": "c"})
    assert (await setup.direct(operation="all", pattern="user:*"))[1]["result"] == {
        "user:1": "a",
        "user:2": "b",
    }


@pytest.mark.parametrize("operation", ["flushall", "SET", "", 5, None, ["get"], {"get": 1}])
async def test_an_unknown_operation_is_invalid(setup: Setup, operation: Json) -> None:
    status, body = await setup.direct(operation=operation, key="k")
    assert (status, body["status"], body["message"]) == (400, "error", "Invalid operation")
    assert body["operations"] == ["set", "get", "delete", "keys", "all", "mset", "info"]


async def test_every_operation_leaves_a_line_in_the_log(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    """The line has the caller, their address, the operation and its outcome; never the value."""
    caplog.set_level(logging.INFO, "bot")
    await setup.direct(operation="set", key="k", value="hunter2", ttl=60)
    await setup.direct(operation="set", key="k", value="hunter2", ttl=10**12)
    lines = [each.__dict__ for each in caplog.records if each.message == "redis operation"]
    names = ("by", "platform", "where", "operation", "keys", "ttl", "outcome")
    common = ("http:api", "http", "127.0.0.1", "set", ["k"])
    assert [tuple(line[name] for name in names) for line in lines] == [
        (*common, 60, "done"),
        (*common, 10**12, "invalid"),
    ]
    assert "hunter2" not in str(lines)


@pytest.mark.parametrize("operation", ["keys", "all"])
async def test_a_listing_that_was_cut_says_so(setup: Setup, operation: str) -> None:
    assert (await setup.direct(operation=operation))[1]["truncated"] is False
    for number in range(2):
        await setup.direct(operation="mset", data={f"key {number} {each}": "" for each in range(600)})
    _, body = await setup.direct(operation=operation)
    assert (len(body["result"]), body["truncated"]) == (1_000, True)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "operation"),
        ({"operation": "get"}, "key"),
        ({"operation": "get", "key": ""}, "key"),
        ({"operation": "get", "key": 5}, "key"),
        ({"operation": "set", "key": "k"}, "value"),
        ({"operation": "set", "key": "k", "value": 10**30}, "64 bits"),
        ({"operation": "set", "key": "k", "value": [{"a": [float("inf")]}]}, "finite"),
        ({"operation": "all", "pattern": 5}, "pattern"),
        ({"operation": "set", "key": "k", "value": "v", "ttl": 0}, "ttl"),
        ({"operation": "set", "key": "k", "value": "v", "ttl": "soon"}, "ttl"),
        ({"operation": "mset", "data": {}}, "data"),
        ({"operation": "mset", "data": {"k": float("nan")}}, "finite"),
    ],
)
async def test_a_wrong_operation_is_told_which_field_to_mend(
    setup: Setup, redis: Redis, body: dict[str, Json], named: str
) -> None:
    status, answer = await setup.direct(**body)
    assert (status, answer["status"]) == (400, "error")
    assert named in answer["message"]
    assert await redis.keys("kv:*") == []


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (BotError("That key is not yours."), 400, None),
        (Unreachable("Redis does not answer."), 503, "5"),
        (StorageDown("Redis does not answer."), 503, "5"),
        (RateLimited("Slower, please.", 1.2), 429, "2"),
    ],
)
async def test_an_operations_trouble_is_told_in_its_own_words(
    error: BotError, status: int, retry_after: str | None
) -> None:
    async with (
        serve_chat(store=FailingStore(error)) as setup,
        setup.client.post("/redis/direct", json={"operation": "get", "key": "k"}) as response,
    ):
        assert (response.status, response.headers.get("Retry-After")) == (status, retry_after)
        assert await response.json() == {"status": "error", "message": str(error)}


async def test_an_unexpected_error_shows_only_a_reference_that_the_log_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve_chat(store=FailingStore(ValueError("password is hunter2"))) as setup:
        status, body = await setup.direct(operation="get", key="k")
    assert status == 500
    assert "hunter2" not in body["message"]
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.__dict__["reference"] in body["message"]
    assert record.exc_info
    assert "hunter2" in str(record.exc_info[1])
