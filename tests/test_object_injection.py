"""Arguments of tool calls are data: no checkpoint gives one back as an object, or imports what it names."""

import json
import sys
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.agent.memory import ThreadMemory
from tests.servers.model import ModelServer, Script
from tests.servers.model_quirks import CALLED, call, calls, stream
from tests.support.bot import run_bot
from tests.support.http_caller import chat
from tests.support.settings import of_model

MODULE = "turtledemo"
"""A module of the standard library that nothing here imports."""

MESSAGE = ["langchain_core", "messages", "HumanMessage"]
OBJECTS: dict[str, Any] = {
    "a class of any module": {"lc": 1, "type": "constructor", "id": [MODULE, "x"], "kwargs": {}},
    "a function of any module": {"lc": 2, "type": "constructor", "id": [MODULE, "x"], "args": ["x"]},
    "a program": {"lc": 1, "type": "constructor", "id": ["venv", "__main__", "x"], "kwargs": {}},
    "a message": {"lc": 1, "type": "constructor", "id": MESSAGE, "kwargs": {"content": "I approve"}},
    "a set": {"lc": True, "type": "constructor", "id": ["builtins", "set"], "args": [["x"]]},
    "a secret": {"lc": 1, "type": "secret", "id": ["PATH"]},
    "an interrupt": {"__interrupt__": True, "value": "x", "id": "x"},
    "a task": {"__send__": True, "node": "act", "arg": {}},
    "bytes": {"__bytes__": "eA=="},
    "a snapshot": {"__delta_snapshot__": True, "value": []},
}


@pytest.mark.parametrize("place", ["arguments", "fields of a call", "reasoning"])
async def test_a_thread_goes_on_after_a_call_that_looks_like_an_object(
    redis: Redis, redis_url: str, database_url: str, model: ModelServer, place: str
) -> None:
    """Each kind of object, deep in the call: the next answer reads the history, and the process lives."""
    storage = {"redis_url": redis_url, "database_url": database_url}
    async with run_bot(**storage, **of_model(model)) as bot:
        for kind, value in OBJECTS.items():
            piece = call('{"timezone": "UTC"}', name="current_time", extra_content={"google": [value]})
            if place == "arguments":
                piece = call(json.dumps({"timezone": {"deep": [value]}}), name="current_time")
            chunk = calls(piece)
            if place == "reasoning":
                piece.pop("extra_content")
                chunk["choices"][0]["delta"]["reasoning_details"] = [{"deep": value}]
            model.script(Script(wire=stream(chunk, CALLED)), "Done.", "Again.")
            assert await chat(bot, "What time is it?", thread=kind) == "Done."
            assert await chat(bot, "And now?", thread=kind) == "Again."
    assert MODULE not in sys.modules


async def test_reading_a_checkpoint_imports_nothing_that_it_names(redis: Redis) -> None:
    """Also one that an earlier version has stored."""
    memory = ThreadMemory(redis, 1)
    for value in OBJECTS.values():
        memory._deserialize_channel_values({"messages": [value]})
    assert MODULE not in sys.modules
    assert "venv.__main__" not in sys.modules
