"""Answers of the database: none takes more memory of the bot than it may, whatever a query makes long."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.chat import File
from bot.concurrency.process_pool import ComputeThread
from bot.tools.errors import ToolFailure
from bot.tools.export import export
from bot.tools.sql.database import Database, QueryLimits, open_database
from bot.tools.sql.rows import MAX_TEXT_CHARS
from tests.support import sql_database

pool = sql_database.pool

_MOST = 1 << 20
HUGE = f"repeat('x', {_MOST + 1})"

TOO_LONG = {
    "a value in a plan": f"EXPLAIN (VERBOSE) SELECT {HUGE}",
    "a condition in a plan": f"EXPLAIN SELECT 1 FROM orders WHERE status = {HUGE}",
    "a plan as a document": f"EXPLAIN (FORMAT JSON) SELECT 1 FROM orders WHERE status = {HUGE}",
    "a value in an error": f"SELECT {HUGE}::int",
}


@pytest_asyncio.fixture
async def bounded_pool(database_url: str) -> AsyncIterator[Database]:
    """A pool whose answers have at most `_MOST` bytes."""
    async with open_database(database_url, size=1, most_bytes=_MOST) as pool:
        yield pool


async def read(pool: Database, query: str) -> None:
    """Read all rows, as for a file."""
    async with pool.rows(query, 30) as (_, batches):
        async for _ in batches:
            pass


@pytest.mark.parametrize("query", TOO_LONG.values(), ids=TOO_LONG.keys())
async def test_an_answer_that_is_too_long_is_not_read_to_its_end(bounded_pool: Database, query: str) -> None:
    """Fault: plans and errors of up to 1 GiB were read whole, since only rows of a SELECT are cut."""
    with pytest.raises(ToolFailure, match="too long to be read"):
        await bounded_pool.fetch(query, QueryLimits())
    with pytest.raises(ToolFailure, match="too long to be read"):
        await read(bounded_pool, query)
    assert (await bounded_pool.fetch("SELECT 1", QueryLimits())).rows == ((1,),)


async def test_what_is_shorter_is_counted_for_each_answer_alone(bounded_pool: Database) -> None:
    """Many answers together may be longer."""
    for _ in range(3):
        with pytest.raises(ToolFailure, match="invalid input syntax"):
            await bounded_pool.fetch(f"SELECT repeat('x', {_MOST // 2})::int", QueryLimits())


async def test_wide_and_long_rows_are_read_a_few_at_a_time(pool: Database) -> None:
    """Fault: 500 rows of hundreds of values of 32,000 characters were asked for at once, gigabytes."""
    long = ", ".join(["a"] * 200)
    query = f"SELECT {long} FROM (SELECT repeat('x', 40000) AS a) AS t, generate_series(1, 3)"
    async with pool.rows(query, 30) as (columns, batches):
        sizes = [
            (len(batch), {len(value or "") for row in batch for value in row}) async for batch in batches
        ]
    assert len(columns) == 200
    assert sizes == [(1, {MAX_TEXT_CHARS})] * 3
    async with pool.rows("SELECT n FROM generate_series(1, 1000) AS n", 30) as (_, batches):
        assert [len(batch) async for batch in batches] == [100, 500, 400]


async def test_a_row_that_is_longer_than_a_file_is_told(pool: Database) -> None:
    """Fault: the query was said to give no rows."""
    long = ", ".join(["a"] * 300)
    query = f"SELECT {long} FROM (SELECT repeat('x', 40000) AS a) AS t"
    with pytest.raises(ToolFailure, match="Even the first row is too large"):
        await export(pool, kept_nowhere, ComputeThread(), query)


async def kept_nowhere(*_: object) -> File:
    raise AssertionError
