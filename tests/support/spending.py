"""Calls that spend a budget; as a program, many of them at once, together with other processes."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from bot.access.budget import Budget
from bot.access.spending import SpendingStore
from bot.chat import BudgetExceeded, Message, ThreadId, Tokens, Turn
from bot.config.amounts import Price, amount
from bot.storage.client import open_redis
from tests.support.wait import wait_until

NOON = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
DAY = "2026-03-04"


def a_budget(
    redis: Redis,
    *,
    prices: Mapping[str, Price] | None = None,
    clock: Callable[[], datetime] = lambda: NOON,
    **limits: Any,
) -> Budget:
    amounts = {f"BUDGET_{name.upper()}": amount(text) for name, text in limits.items()}
    return Budget(SpendingStore(redis, hold_seconds=60), amounts, prices or {}, clock)


def turn_of(*authors: str, channel: str = "C1", space: str = "T1") -> Turn:
    thread = ThreadId("slack", space, channel, "1.1")
    messages = tuple(
        Message(
            id=author,
            thread=thread,
            author=f"slack:{author}",
            text="hi",
            sent_at=0,
            addressed=True,
            channel=channel,
        )
        for author in authors
    )
    return Turn(id="turn", thread=thread, messages=messages)


PROCESSES = 2
CALLS, TAKES, LIMIT = 40, 100, 2_000
"""Number of calls of a process, tokens of each call, and tokens of the budget."""


async def spend_at_once(url: str) -> int:
    """Wait for all processes, start every call at once, and return the number of admitted calls."""
    async with open_redis(url, pool_size=CALLS) as redis:
        budget = a_budget(redis, total=f"{LIMIT} tokens")
        await redis.incr("spenders")

        async def all_there() -> bool:
            return int(await redis.get("spenders") or 0) == PROCESSES

        await wait_until(all_there, "all spenders are there", timeout=60)

        async def one(author: int) -> bool:
            try:
                async with budget.measure(turn_of(f"U{author}"), "m", Tokens(TAKES)) as spending:
                    await asyncio.sleep(0.05)  # how long the model takes
                    spending.tokens = Tokens(TAKES)
            except BudgetExceeded:
                return False
            return True

        return sum(await asyncio.gather(*(one(author) for author in range(CALLS))))


if __name__ == "__main__":
    print(asyncio.run(spend_at_once(sys.argv[1])))
