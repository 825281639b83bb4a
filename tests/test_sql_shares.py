"""Fair shares of the database: slow queries of one person leave connections for the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from bot.chat import Message, ThreadId, Turn
from bot.tools.context import use_asker
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, QueryLimits, open_database
from bot.tools.sql.errors import BUSY
from bot.tools.sql.role import RoleCheck
from tests.support.sql_attacks import ENDLESS
from tests.support.wait import wait_until

SLOW = QueryLimits(seconds=60)
MANY = 16
"""Calls that a model may make at once."""


def turn_of(author: str) -> Turn:
    thread = ThreadId("test", "space", author)
    message = Message(id=author, thread=thread, author=author, text="count", sent_at=0, addressed=True)
    return Turn(id=author, thread=thread, messages=(message,))


async def at_work(url: str) -> int:
    """The queries that the server is at."""
    watcher = await asyncpg.connect(url)
    try:
        count: int = await watcher.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%counted_slowly%'"
            " AND pid <> pg_backend_pid()"
        )
        return count
    finally:
        await watcher.close()


@asynccontextmanager
async def slow_queries(database: Database, url: str, author: str, shown: int) -> AsyncIterator[None]:
    """As many slow queries of one person as a model may ask for; `shown` are at work in the end."""
    query = f"SELECT 1 AS counted_slowly, x.* FROM ({ENDLESS}) AS x"
    with use_asker(turn_of(author)):
        running = [asyncio.create_task(database.fetch(query, SLOW)) for _ in range(MANY)]
    try:

        async def are_at_work() -> bool:
            return await at_work(url) >= shown

        await wait_until(are_at_work, "they are at work")
        yield
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize(("author", "most"), [("test:ada", 2), ("http:api", 5)])
async def test_slow_queries_of_one_person_leave_connections_for_others(
    database_url: str, author: str, most: int
) -> None:
    """Fault: the calls of one question took every connection, and others read that there is no database."""
    async with open_database(database_url, size=6) as database:
        async with slow_queries(database, database_url, author, most):
            with use_asker(turn_of("test:bob")):
                assert (await database.fetch("SELECT 7 AS n", QueryLimits())).rows == ((7,),)
            assert (await database.health()).state != "down"
            assert await at_work(database_url) == most
        with use_asker(turn_of(author)):
            assert (await database.fetch("SELECT 8 AS n", QueryLimits())).rows == ((8,),)


async def test_a_database_that_is_busy_is_not_said_to_be_away(database_url: str) -> None:
    """Neither to the person who asks nor by health."""
    role = RoleCheck("accept", patience=0.1)
    async with (
        open_database(database_url, size=1, role=role, acquire_seconds=0.1) as database,
        slow_queries(database, database_url, "test:ada", 1),
    ):
        with use_asker(turn_of("test:bob")), pytest.raises(ToolFailure) as refused:
            await database.fetch("SELECT 7 AS n", QueryLimits())
        assert str(refused.value) == BUSY
        health = await database.health()
    assert (health.state, health.evidence) == ("degraded", {"error": "all connections are at work"})
