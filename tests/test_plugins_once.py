"""Approved calls of plug-ins: made at most once, whatever happens in between."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from bot.tools.errors import ToolFailure
from bot.tools.plugins.idempotency import Once
from tests.support.wait import wait_until


class Tool:
    """Counts its calls, and returns what it is told to."""

    def __init__(self, ending: Callable[[], Awaitable[str]]) -> None:
        self.calls = 0
        self._ending = ending

    async def __call__(self) -> str:
        self.calls += 1
        return await self._ending()


async def _done() -> str:
    return "done: é"


async def _failed() -> str:
    raise ToolFailure("no room")


async def _never() -> str:
    await asyncio.Event().wait()
    return ""


async def test_the_outcome_of_a_repeated_call_is_told_again(redis: Redis) -> None:
    """Success and failure alike; another request is another call."""
    good, bad = Tool(_done), Tool(_failed)
    for _ in range(2):
        assert await Once(redis)("r1", good) == "done: é"
        with pytest.raises(ToolFailure, match="no room"):
            await Once(redis)("r2", bad)
    assert (good.calls, bad.calls) == (1, 1)
    await Once(redis)("r3", good)
    assert good.calls == 2
    assert all([await redis.ttl(f"{{bot}}:plugin_call:{each}") > 6 * 86_400 for each in ("r1", "r2", "r3")])


async def test_a_call_that_was_cut_off_is_not_made_again(redis: Redis) -> None:
    """Nobody knows what became of it."""
    cut = Tool(_never)
    call = asyncio.create_task(Once(redis)("r1", cut))
    await wait_until(lambda: cut.calls == 1, "the call is under way")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(ToolFailure, match="the outcome is unknown"):
        await Once(redis)("r1", cut)
    assert cut.calls == 1


async def test_two_at_once_make_one_call(redis: Redis) -> None:
    """As when a turn is run by a process that has lost its lease, and by another."""
    tool = Tool(_done)
    told = await asyncio.gather(*(Once(redis)("r1", tool) for _ in range(5)), return_exceptions=True)
    assert tool.calls == 1
    assert told.count("done: é") >= 1
    assert all(each == "done: é" or isinstance(each, ToolFailure) for each in told)


async def test_without_redis_nothing_is_done() -> None:
    """A step that cannot be noted is not begun."""
    async with Redis(port=9) as away:
        tool = Tool(_done)
        with pytest.raises(ToolFailure, match="nothing was done"):
            await Once(away)("r1", tool)
    assert tool.calls == 0
