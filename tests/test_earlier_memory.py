"""Threads of earlier versions, which stored documents: they continue, and older processes lose nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from redis.asyncio import Redis

from bot.agent.memory import ThreadMemory
from bot.chat import StorageDown, ToolStep
from bot.memory import account_of
from tests.servers.model import ModelServer, Script
from tests.support.agent import a_turn, an_agent, query_tool, text_of
from tests.support.approvals import ASK, TAKEN, request_in, tool_results
from tests.support.bot import run_bot
from tests.support.earlier_memory import EarlierMemory, earlier_version
from tests.support.http_caller import Caller
from tests.support.settings import of_model
from tests.support.table import Shelf

THREAD = str(a_turn("x").thread)
CONFIG: Any = {"configurable": {"thread_id": THREAD, "checkpoint_ns": ""}}
KEY, POINTER = f"checkpoint:{THREAD}", f"checkpoint_latest:{THREAD}:__empty__"
LOOK = Script(text="Let me look.", tool_calls=[("sql_query", {"query": "select 1"})])


async def keys(redis: Redis) -> set[str]:
    """Return the keys of thread memories."""
    found: Any = [*await redis.keys("checkpoint*"), *await redis.keys("write_keys*")]
    return {key.decode() for key in found}


async def dump_documents(redis: Redis) -> dict[str, bytes]:
    return {key: await redis.dump(key) or b"" for key in await keys(redis) - {POINTER}}


async def restore(redis: Redis, documents: Mapping[str, bytes]) -> None:
    """Store documents again, as if a process had died after the first string and before it removed them."""
    for key, value in documents.items():
        await redis.restore(key, 0, value)


async def test_a_thread_continues_and_its_documents_are_removed(redis: Redis, model: ModelServer) -> None:
    """The model receives the same history; what is left is one string, which expires, and the pointer."""
    with earlier_version():
        async with an_agent(redis, model) as agent:
            model.script(LOOK, "It is 1.")
            await text_of(agent, a_turn("count"))
            await text_of(agent, a_turn("and now?"))
            told = model.requests[-1]["messages"]
    assert len(await keys(redis)) > 10
    async with an_agent(redis, model) as agent:
        await text_of(agent, a_turn("once more"))
        assert model.requests[-1]["messages"][: len(told)] == told
        assert await keys(redis) == {KEY, POINTER}
        assert await redis.ttl(KEY) > 80_000
        await text_of(agent, a_turn("the last time"))
        assert len(model.requests[-1]["messages"]) == len(told) + 4
    assert await keys(redis) == {KEY, POINTER}


async def test_all_of_a_checkpoint_is_taken_over(redis: Redis, model: ModelServer) -> None:
    """Its values, the tasks that wait and what they have written; versions become numbers in their order."""
    with earlier_version():
        async with an_agent(redis, model) as agent:
            model.script(LOOK, "It is 1.", Script(status=400))
            await text_of(agent, a_turn("count"))
            with pytest.raises(Exception, match="refused"):
                await text_of(agent, a_turn("and now?"))
    earlier, memory = EarlierMemory(redis, 1), ThreadMemory(redis, 1)
    await earlier.set_up()
    await memory.set_up()
    before, after = await earlier.aget_tuple(CONFIG), await memory.aget_tuple(CONFIG)
    assert before
    assert after
    assert after.checkpoint["channel_values"] == before.checkpoint["channel_values"]
    assert [write[:2] for write in after.pending_writes or ()] == [
        write[:2] for write in before.pending_writes or ()
    ]
    versions, numbers = before.checkpoint["channel_versions"], after.checkpoint["channel_versions"]
    assert sorted(versions, key=lambda each: (str(versions[each]), each)) == sorted(
        numbers, key=lambda each: (numbers[each], each)
    )
    await memory.aput(after.config, after.checkpoint, after.metadata, {})
    again = await memory.aget_tuple(CONFIG)
    assert again
    assert again.checkpoint["channel_values"] == before.checkpoint["channel_values"]
    assert again.checkpoint["channel_versions"] == numbers


async def test_reading_a_thread_of_an_earlier_version_leaves_nothing_in_the_process(
    redis: Redis, model: ModelServer
) -> None:
    """Personal data is read in any number of threads that are never continued."""
    with earlier_version():
        async with an_agent(redis, model) as agent:
            await text_of(agent, a_turn("hello"))
    memory = ThreadMemory(redis, 1)
    await memory.set_up()
    memory._key_cache_max_size = 0  # the package limits its cache of keys
    before = {name: len(each) for name, each in vars(memory).items() if isinstance(each, dict)}
    assert await memory.aget_tuple(CONFIG)
    assert {name: len(each) for name, each in vars(memory).items() if isinstance(each, dict)} == before


async def test_a_finished_tool_of_an_earlier_version_is_not_run_again(
    redis: Redis, model: ModelServer
) -> None:
    """One of two tools had finished when the process was replaced; the next attempt runs the other one."""
    entered, runs = asyncio.Event(), list[str]()

    @tool
    async def look(query: str) -> str:
        """Look something up."""
        runs.append(query)
        if query == "slow" and runs.count("slow") == 1:
            entered.set()
            await asyncio.Event().wait()
        return f"found {query}"

    both = [("look", {"query": "quick"}), ("look", {"query": "slow"})]
    model.script(Script(tool_calls=both), "Found both.")
    with earlier_version():
        async with an_agent(redis, model, tools=[look]) as agent:
            finished = asyncio.Event()

            async def first_attempt() -> None:
                async for part in agent.answer(a_turn("find")):
                    if isinstance(part, ToolStep) and part.state == "finished":
                        finished.set()

            task = asyncio.create_task(first_attempt())
            await entered.wait()
            await finished.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    async with an_agent(redis, model, tools=[look]) as agent:
        assert await text_of(agent, a_turn("find", attempt=2)) == "Found both."
    assert sorted(runs) == ["quick", "slow", "slow"]
    assert await keys(redis) == {KEY, POINTER}


async def test_a_result_is_safe_before_the_first_checkpoint_of_its_own(
    redis: Redis, model: ModelServer
) -> None:
    """A tool that waited in documents has run; after a crash its result is found beside them."""
    with earlier_version():
        async with an_agent(redis, model) as agent:
            await text_of(agent, a_turn("count"))
    memory = ThreadMemory(redis, 1)
    await memory.set_up()
    found = await memory.aget_tuple(CONFIG)
    assert found
    result = ToolMessage("42", id="r", tool_call_id="c")
    await memory.aput_writes(found.config, [("messages", [result])], "task", "~__pregel_push, 0000000000")
    restarted = ThreadMemory(redis, 1)
    await restarted.set_up()
    again = await restarted.aget_tuple(CONFIG)
    assert again
    assert ("task", "messages", [result]) in (again.pending_writes or ())


async def test_a_request_of_an_earlier_version_is_carried_out_once(
    redis: Redis, redis_url: str, database_url: str, shelf: Shelf, model: ModelServer
) -> None:
    """The graph was interrupted in documents; the approval continues it there."""
    settings: dict[str, Any] = {
        "redis_url": redis_url,
        "database_url": database_url,
        "database_write_url": shelf.dsn,
        "sql_writes": "approval",
        "approvers": "http:api",
        **of_model(model),
    }
    model.script(ASK, "Taken.")
    async with aiohttp.ClientSession() as session:
        with earlier_version():
            async with run_bot(**settings) as bot:
                request = request_in(await Caller(bot, session).ask("take one of each"))
        async with run_bot(**settings) as bot:
            caller = Caller(bot, session)
            assert (await caller.decide(request, approve=True))[1].endswith("Taken.")
            assert tool_results(model) == ["A person approved this, and it was done: 2 rows."]
            assert await shelf.stock() == TAKEN
            await caller.ask("and now?")
    assert await shelf.stock() == TAKEN
    assert not [key for key in await keys(redis) if key.endswith("__empty__") and "latest" not in key]


@pytest.mark.parametrize("has_documents", [False, True])
async def test_an_older_process_beside_postpones_the_thread(
    redis: Redis, model: ModelServer, *, has_documents: bool
) -> None:
    """It cannot read the memory; without an error it would answer as if nothing had been said."""
    if has_documents:
        with earlier_version():
            async with an_agent(redis, model) as agent:
                await text_of(agent, a_turn("before"))
    async with an_agent(redis, model) as agent:
        await text_of(agent, a_turn("one"))
        asked = len(model.requests)
        with earlier_version():
            async with an_agent(redis, model) as older:
                with pytest.raises(StorageDown):
                    await text_of(older, a_turn("two"))
        assert len(model.requests) == asked
        await text_of(agent, a_turn("two"))
    said = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user"]
    assert said == [*(["before"] if has_documents else []), "one", "two"]


async def test_what_an_earlier_version_wrote_last_counts(redis: Redis, model: ModelServer) -> None:
    """After a return to it: it began the thread again, and what it was told there is not lost."""
    async with an_agent(redis, model) as agent:
        await text_of(agent, a_turn("one"))
    await redis.delete(POINTER)  # a day later
    with earlier_version():
        async with an_agent(redis, model) as agent:
            await text_of(agent, a_turn("two"))
    async with an_agent(redis, model) as agent:
        await text_of(agent, a_turn("three"))
    said = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user"]
    assert said == ["two", "three"]
    assert await keys(redis) == {KEY, POINTER}


@pytest.mark.parametrize("is_continued", [True, False])
async def test_one_user_is_forgotten_in_a_thread_of_an_earlier_version(
    redis: Redis, model: ModelServer, *, is_continued: bool
) -> None:
    """The other user's words stay, in a string; none are left in documents, also not in those of a crash."""
    (message,) = a_turn("bobmark").messages
    bobs = replace(a_turn("bobmark"), messages=(replace(message, author="test:bob"),))
    with earlier_version():
        async with an_agent(redis, model) as agent:
            await text_of(agent, a_turn("adamark"))
            await text_of(agent, bobs)
    async with an_agent(redis, model) as agent:
        if is_continued:
            documents = await dump_documents(redis)
            await text_of(agent, a_turn("and now?"))
            await restore(redis, documents)
        await agent.forget(THREAD, frozenset({account_of(a_turn("x").messages[0]).digest}), wholly=False)
    assert await keys(redis) <= {KEY, POINTER}
    left = str(await redis.get(KEY))
    assert "bobmark" in left
    assert "adamark" not in left


@pytest.mark.parametrize("wholly", [True, False])
@pytest.mark.parametrize("is_continued", [True, False])
async def test_forgetting_leaves_nothing_in_either_layout(
    redis: Redis, model: ModelServer, *, wholly: bool, is_continued: bool
) -> None:
    """Of the user's words none are left, whether the thread continued or not, nor documents of a crash."""
    ada = frozenset({account_of(a_turn("x").messages[0]).digest})
    with earlier_version():
        async with an_agent(redis, model, tools=[query_tool()]) as agent:
            model.script(LOOK, "It is adamark.")
            await text_of(agent, a_turn("adamark"))
    if is_continued:
        documents = await dump_documents(redis)
        async with an_agent(redis, model) as agent:
            await text_of(agent, a_turn("and now?"))
        await restore(redis, documents)
    async with an_agent(redis, model) as agent:
        expected = ["adamark", "and now?"] if is_continued else ["adamark"]
        assert await agent.texts_by(THREAD, ada) == expected
        await agent.forget(THREAD, ada, wholly=wholly)
        assert await agent.texts_by(THREAD, ada) == []
    assert await keys(redis) == set()
