"""Guard of the SQL tools: statements of any text, length and depth are judged, without holding the loop."""

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable
from contextlib import suppress
from traceback import walk_stack

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, QueryLimits
from bot.tools.sql.deny_list import is_denied_function
from bot.tools.sql.format import Column, Result, markdown, point_at
from bot.tools.sql.guard import READING, check, inspect, parse_one
from tests.support import sql_database
from tests.support.wait import wait_until

owner_url = sql_database.owner_url
owner = sql_database.owner
pool = sql_database.pool


@pytest.mark.parametrize("statement", ["INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "DELETE FROM t"])
def test_guard_can_be_told_what_is_allowed(statement: str) -> None:
    """One parser and one walk for reading and for what a person approves."""
    parsed = parse_one(f" {statement} ; ")
    assert parsed.text.strip() == statement
    assert parsed.kind == statement.split()[0]
    assert not parsed.is_select
    inspect(parsed.tree, READING | {type(parsed.tree)}, "only writing is.")
    with pytest.raises(ToolFailure, match=f"^{parsed.kind} is not allowed: only reading is.$"):
        inspect(parsed.tree, READING, "only reading is.")


def test_guard_tells_which_functions_may_be_called() -> None:
    """Also those that look like columns."""
    statement = check("SELECT a.b, (c).d, count(*) FROM f() AS a(c) WHERE x.g(1) = ANY (SELECT y FROM z)")
    assert statement.calls == {"b", "d", "count", "f", "g"}


SLOW_TO_READ = [
    "SELECT " + "a, " * 3_000 + "1 FROM (SELECT 1 AS a) AS t",
    "SELECT " + "(SELECT " * 1_000 + "1" + ")" * 1_000,
    "SELECT 1" + " UNION SELECT 1" * 600,
    "SELECT " + "1 + 1, " * 1_400 + "1",
]


@pytest.mark.parametrize("query", SLOW_TO_READ, ids=["names", "deep", "long", "columns"])
async def test_reading_a_large_query_does_not_hold_the_loop(pool: Database, query: str) -> None:
    """The longest gap of a ticking task is a fraction of what reading the query takes on the loop.

    In one of some tries: a collection of garbage, or another process, may stop everything for a while.
    """
    shares: list[float] = []
    while not shares or min(shares) > 0.5:
        assert len(shares) < 5, shares
        gc.collect()
        began = time.perf_counter()
        check(query)
        on_the_loop = time.perf_counter() - began
        shares.append(await longest_gap(pool.fetch(query, QueryLimits())) / on_the_loop)


async def longest_gap(work: Awaitable[object]) -> float:
    """For how long the loop did nothing else, at most, while it did `work`; in seconds."""
    gaps: list[float] = []
    ticking = asyncio.create_task(tick(gaps))
    await wait_until(lambda: bool(gaps), "it ticks")
    gaps.clear()
    with suppress(ToolFailure):
        await work
    await asyncio.sleep(0)  # one more tick, after what came last
    ticking.cancel()
    return max(gaps)


async def tick(gaps: list[float]) -> None:
    """Note how long the loop was busy between two turns of ours."""
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0)  # one round of the loop
        now = time.perf_counter()
        gaps.append(now - last)
        last = now


def test_depth_of_a_query_costs_no_python_stack() -> None:
    """The deepest that fit are read with hardly any frames left: there is no RecursionError to catch."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(sum(1 for _ in walk_stack(None)) + 40)
    try:
        for query in (SLOW_TO_READ[1], "SELECT 1" + " + 1" * 2_400, "SELECT " + "f(" * 3_000 + ")" * 3_000):
            check(query)
    finally:
        sys.setrecursionlimit(limit)


HARMLESS_VOLATILE = """
amvalidate array_sample array_shuffle bernoulli brinhandler bthandler clock_timestamp current_query
dsnowball_init dsnowball_lexize gen_random_uuid ginhandler gisthandler hashhandler
heap_tableam_handler pg_database_size pg_indexes_size pg_is_in_recovery pg_partition_ancestors
pg_partition_tree pg_relation_size pg_table_size pg_total_relation_size plpgsql_validator random random_normal
spghandler system timeofday txid_status uuidv4 uuidv7
"""


async def test_every_volatile_function_of_postgres_was_judged(
    owner: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """A function that may have effects is refused by name, or listed above: a new version shows here."""
    records = await owner.fetch("""
        SELECT DISTINCT proname FROM pg_proc
         WHERE provolatile = 'v' AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
           AND pronamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)""")
    let_pass = {record["proname"] for record in records if not is_denied_function(record["proname"])}
    assert let_pass == set(HARMLESS_VOLATILE.split())


cells = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.text())


@given(st.lists(st.tuples(cells, cells), max_size=5))
def test_every_value_stays_in_its_cell(rows: list[tuple[object, ...]]) -> None:
    """Pipes, line breaks and control characters in data add no cells, rows or lines to the table."""
    text = markdown(Result((Column("a", "text"), Column("b", "text")), tuple(rows), is_complete=True))
    lines = text.split("\n")
    assert len(lines) == len(rows) + 4
    for line in lines[: len(rows) + 2]:
        assert line.replace("\\|", "").count("|") == 3


@given(st.text(), st.integers(-1, 50))
def test_pointing_never_fails(query: str, index: int) -> None:
    """Whatever the server says of the position, there are no more than two lines."""
    assert point_at(query, index).count("\n") <= 1


@given(st.text())
def test_guard_answers_any_text(query: str) -> None:
    """Either a statement or a failure for the model; no other exception."""
    with suppress(ToolFailure):
        check(query)
