"""A long thread: its turns cost what its first ones cost, and what is stored of it has a limit."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.servers.model import ModelServer
from tests.support.bot import run_bot
from tests.support.calls import count_calls
from tests.support.http_caller import Caller
from tests.support.redis_trips import redis_trips
from tests.support.settings import of_model

TURNS = 500
PERIOD = 11
"""Turns from one summary of a thread to the next: one after the other, they cost different amounts."""
GROWTH = 1.2
"""Most that the last turns may take, in proportion to those from the eleventh on."""
MOST_STORED = 100_000
"""Bytes of a thread's memory in Redis."""


async def cost(caller: Caller, redis_url: str) -> Mapping[str, int]:
    """Return what the turns of a period take."""
    with pytest.MonkeyPatch.context() as patch:
        async with redis_trips(redis_url, patch) as trips:
            with count_calls() as calls:
                await talk(caller, PERIOD)
            found = await trips.take()
    return {
        "commands": sum(len(each.all_commands) for each in found),
        "bytes sent": sum(each.sent for each in found),
        "bytes received": sum(each.received for each in found),
        "function calls": calls.total,
    }


async def talk(caller: Caller, turns: int) -> None:
    for _ in range(turns):
        assert await caller.ask("what now, in a sentence of some length?")


@pytest.mark.timeout(300)
async def test_the_last_of_500_turns_cost_what_those_from_the_11th_on_cost(
    storage: dict[str, Any], model: ModelServer, redis: Redis, redis_url: str
) -> None:
    """In commands, bytes and function calls, which no load changes."""
    model.respond = lambda _: "An answer of a few words."
    async with run_bot(**storage, **of_model(model)) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        await talk(caller, 10)
        early = await cost(caller, redis_url)
        await talk(caller, TURNS - 10 - 2 * PERIOD)
        late = await cost(caller, redis_url)
        stored = sum([await redis.memory_usage(key) or 0 async for key in redis.scan_iter("checkpoint:*")])
    print(early, late, stored)
    over = [f"{name}: {late[name]} > {early[name]}" for name in late if late[name] > GROWTH * early[name]]
    assert not over
    assert stored <= MOST_STORED
