"""Queries of the SQL tools against a real Postgres: bounded results, errors that help, limits that hold."""

import asyncio
import os
import signal
from decimal import Decimal

import asyncpg
import pytest
from langchain_core.tools import BaseTool

from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, QueryLimits, open_database
from bot.tools.sql.format import markdown
from bot.tools.sql.role import RoleCheck
from tests.support import sql_database
from tests.support.sql_attacks import ENDLESS
from tests.support.sql_database import failure, values
from tests.support.wait import wait_until

owner_url = sql_database.owner_url
owner = sql_database.owner
pool = sql_database.pool
owner_pool = sql_database.owner_pool
tools = sql_database.tools


async def test_function_called_like_a_column_is_a_real_hole(
    owner: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """Why the guard looks at column names: PostgreSQL takes `f.pg_typeof` for a call of that function."""
    assert await owner.fetchval("SELECT f.pg_typeof FROM generate_series(1, 1) AS f") == "integer"


async def test_writing_function_meets_the_read_only_transaction(owner_pool: Database) -> None:
    """A function of the database passes the guard, but cannot write."""
    assert "Only reading is possible" in await failure(owner_pool, "SELECT pay()")


async def test_function_of_an_extension_that_is_volatile_by_chance_runs(
    owner: "asyncpg.Connection[asyncpg.Record]", owner_pool: Database
) -> None:
    """Not everything volatile in C has effects; what is known not to is allowed."""
    await owner.execute("CREATE EXTENSION tablefunc")
    try:
        assert len((await owner_pool.fetch("SELECT * FROM normal_rand(2, 0, 1)", QueryLimits())).rows) == 2
    finally:
        await owner.execute("DROP EXTENSION tablefunc")


async def test_transaction_is_rolled_back(
    owner_pool: Database, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A read-only transaction may notify, but only a committed one is heard."""
    heard: list[object] = []
    await owner.add_listener("everybody", lambda *notification: heard.append(notification[-1]))
    await values(owner_pool, "SELECT shout()")
    await owner.execute("NOTIFY everybody, 'end'")
    await wait_until(lambda: "end" in heard, "the later notification is heard")
    assert heard == ["end"]


async def test_backslash_means_the_same_to_guard_and_server(
    owner: "asyncpg.Connection[asyncpg.Record]", owner_url: str
) -> None:
    r"""With standard_conforming_strings off, what the guard reads as a string would be code."""
    await owner.execute("ALTER DATABASE scratch SET standard_conforming_strings = off")
    try:
        async with open_database(owner_url, size=1) as pool:
            sly = r"SELECT '\', ' || pg_sleep(60)::text --'"
            assert await values(pool, sly) == ("\\", " || pg_sleep(60)::text --")
    finally:
        await owner.execute("ALTER DATABASE scratch RESET standard_conforming_strings")


@pytest.mark.parametrize(
    "query",
    [
        "select 1;",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1), (2)",
        "TABLE orders",
        "(SELECT 1) UNION (SELECT 2) ORDER BY 1",
        "SHOW server_version",
        "EXPLAIN (ANALYZE, BUFFERS) SELECT count(*) FROM orders",
        "SELECT pg_size_pretty(pg_total_relation_size('orders'))",
        "SELECT o.status FROM orders AS o -- with a comment",
        "SELECT count(*) FILTER (WHERE id OPERATOR(pg_catalog.>) 5) FROM orders TABLESAMPLE bernoulli (50)",
        "SELECT 'é', U&'\\00e9', E'\\n', $$it's$$ ; -- ü",
        "SELECT * FROM orders AS o JOIN customers AS c ON c.id = o.customer_id",
        "SELECT random() < 2, now() IS NULL, gen_random_uuid() IS NULL, version() IS NULL",
        "SELECT current_setting('statement_timeout'), current_setting('no_such_setting', true)",
        "SHOW TimeZone",
        "SELECT relname, reltuples FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace",
        "SELECT * FROM information_schema.columns",
        "SELECT attname, n_distinct FROM pg_stats WHERE tablename = 'orders'",
        "SELECT x.http_status, x.lo_value FROM (SELECT 200 AS http_status, 1 AS lo_value) AS x",
        "SELECT name AS xpath FROM customers",
        "SELECT * FROM json_table('[1, 2]', '$[*]' COLUMNS (x int PATH '$')) AS t",
    ],
)
async def test_reading_queries_run(pool: Database, query: str) -> None:
    """Queries that people ask for are not refused."""
    assert (await pool.fetch(query, QueryLimits())).rows


async def test_values_are_typed_and_rendered(pool: Database) -> None:
    """Numbers stay numbers; dates, intervals, JSON, arrays and bytes are PostgreSQL's own text."""
    result = await pool.fetch(
        r"""SELECT 1 AS a, 1.50::numeric AS b, true AS c, NULL AS d, '' AS e, date '2024-02-29' AS f,
        'infinity'::timestamptz AS g, interval '1 mon 2 days 03:00' AS h, '{"k": [1, null]}'::jsonb AS i,
        ARRAY['x', NULL] AS j, '\x00ff'::bytea AS k, 'p|q' AS l, E'two\nlines' AS m, (1, 'y') AS n""",
        QueryLimits(),
    )
    assert result.rows[0][:4] == (1, Decimal("1.50"), True, None)
    assert [column.type for column in result.columns][:3] == ["int4", "numeric", "bool"]
    assert markdown(result).splitlines()[2] == (
        r"| 1 | 1.50 | true | NULL | '' | 2024-02-29 | infinity | 1 mon 2 days 03:00:00 "
        r"""| {"k": [1, null]} | {x,NULL} | \x00ff | p\|q | two lines | (1,y) |"""
    )


async def test_long_value_is_cut_on_the_server(pool: Database) -> None:
    """A value of 50 MB arrives as a few hundred characters, and the reader is told."""
    result = await pool.fetch("SELECT repeat('x', 50000000) AS long", QueryLimits())
    assert len(str(result.rows[0][0])) == 501
    assert "cut at 500 characters" in markdown(result)


async def test_columns_of_the_same_name_and_no_columns_are_shown(pool: Database) -> None:
    """The wrapping of the query survives what SQL allows at its top."""
    assert await values(pool, "SELECT 1 AS a, 2 AS a, 3") == (1, 2, 3)
    assert markdown(await pool.fetch("SELECT FROM regions LIMIT 2", QueryLimits())) == "2 rows."


async def test_wide_result_is_cut_on_the_server(pool: Database) -> None:
    """Of 1,000 columns 60 arrive, with their types; the reader is told, and can name others."""
    result = await pool.fetch("SELECT 1" + ", 1" * 999, QueryLimits())
    assert (len(result.columns), len(result.rows[0]), result.hidden_columns) == (60, 60, 940)
    assert "The first 60 of 1,000 columns: name those that you need." in markdown(result)


async def test_numbers_are_cut_on_the_server_and_stay_numbers(pool: Database) -> None:
    """A numeric may have 131,072 digits; of each 501 characters leave the server."""
    result = await pool.fetch(
        "SELECT repeat('9', 131000)::numeric, 1.50::numeric, 'NaN'::numeric::text, 'Infinity'::numeric",
        QueryLimits(),
    )
    (row,) = result.rows
    assert len(str(row[0])) == 501
    assert row[1:] == (Decimal("1.50"), "NaN", Decimal("Infinity"))
    assert [column.type for column in result.columns] == ["numeric", "numeric", "text", "numeric"]


async def test_type_called_like_a_number_is_read_as_text(
    owner: "asyncpg.Connection[asyncpg.Record]", owner_pool: Database
) -> None:
    """A schema may have its own `numeric`, of words."""
    await owner.execute("CREATE SCHEMA odd; CREATE TYPE odd.numeric AS ENUM ('one'); ")
    try:
        result = await owner_pool.fetch("SELECT 'one'::odd.numeric", QueryLimits())
        assert result.rows == (("one",),)
        assert result.columns[0].type == "odd.numeric"
    finally:
        await owner.execute("DROP SCHEMA odd CASCADE")


async def test_order_of_the_query_is_kept(pool: Database) -> None:
    """The rows come in the order that the query asks for."""
    result = await pool.fetch("SELECT id FROM orders ORDER BY id DESC", QueryLimits(rows=50))
    ids = [row[0] for row in result.rows]
    assert ids == sorted(ids, reverse=True)  # type: ignore[type-var]  # the ids are integers
    assert len(ids) == 50


async def test_no_more_rows_are_computed_than_shown(pool: Database) -> None:
    """Row 102 would divide by zero: of 100 shown, 101 are asked for."""
    result = await pool.fetch(
        "SELECT 1 / (102 - i) FROM generate_series(1, 1000) AS i", QueryLimits(rows=100)
    )
    assert len(result.rows) == 100
    assert not result.is_complete
    assert "The first 100 rows; there are more." in markdown(result)


async def test_result_is_bounded_in_characters(pool: Database) -> None:
    """Wide rows end the result early, with at least one shown."""
    result = await pool.fetch("SELECT repeat('x', 400) FROM generate_series(1, 90)", QueryLimits(chars=4_000))
    assert 0 < len(result.rows) < 12
    assert not result.is_complete


async def test_exactly_as_many_rows_as_allowed_are_complete(pool: Database) -> None:
    """The last row that fits is not called the first of more."""
    assert (await pool.fetch("SELECT * FROM generate_series(1, 100)", QueryLimits(rows=100))).is_complete


async def test_error_points_at_the_place_and_names_the_tables(tools: dict[str, BaseTool]) -> None:
    """Wrong SQL comes back with PostgreSQL's message, a caret, its hint, and the tables there are."""
    with pytest.raises(ToolFailure) as caught:
        await tools["sql_query"].ainvoke({"query": "SELECT 'é',\n  statu FROM orders"})
    text = str(caught.value)
    assert text.startswith(
        'ERROR: column "statu" does not exist (SQLSTATE 42703)\nLINE 2:   statu FROM orders\n'
    )
    assert text.splitlines()[2] == " " * len("LINE 2:   ") + "^"
    assert 'HINT: Perhaps you meant to reference the column "orders.status".' in text
    assert "agents, categories, customers" in text


async def test_syntax_error_points_at_the_place(pool: Database) -> None:
    """Also what the parser refuses before the server sees it."""
    text = await failure(pool, "SELECT * FRM orders")
    assert text == 'ERROR: syntax error at or near "FRM"\nLINE 1: SELECT * FRM orders\n                 ^'


async def test_missing_privilege_is_told(owner_url: str) -> None:
    """The role's rights are the last wall."""
    async with open_database(owner_url.replace("postgres@", "bot_reader@", 1), size=1) as pool:
        assert "permission denied for table accounts" in await failure(pool, "SELECT * FROM accounts")


async def test_slow_query_is_stopped_and_told(pool: Database) -> None:
    """The limit is the server's; the connection serves the next query."""
    text = await failure(pool, ENDLESS, QueryLimits(seconds=0.2))
    assert "took longer than 0.2 s and was stopped" in text
    assert await values(pool, "SELECT 1") == (1,)


async def test_locked_table_does_not_hold_us_up(
    owner_pool: Database, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Somebody's exclusive lock ends the query after a tenth of its time."""
    async with owner.transaction():
        await owner.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        text = await failure(owner_pool, "SELECT * FROM accounts", QueryLimits(seconds=2))
        assert "locked by somebody else" in text


async def running(owner: "asyncpg.Connection[asyncpg.Record]", backend: object) -> bool:
    """Return whether the server works on the endless query for the process `backend`."""
    activity = "SELECT state = 'active' AND strpos(query, $2) > 0 FROM pg_stat_activity WHERE pid = $1"
    return bool(await owner.fetchval(activity, backend, ENDLESS))


async def test_cancelling_the_task_cancels_the_query_on_the_server(
    owner_pool: Database, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """pg_stat_activity shows it running, then not; the only connection of the pool serves on."""
    (backend,) = await values(owner_pool, "SELECT pg_backend_pid()")
    task = asyncio.create_task(owner_pool.fetch(ENDLESS, QueryLimits()))
    await wait_until(lambda: running(owner, backend), "the query runs on the server")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await running(owner, backend)
    assert await values(owner_pool, "SELECT pg_backend_pid()") == (backend,)


async def test_lost_connection_is_told_and_replaced(
    owner_pool: Database, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A backend that is killed under a query costs that query only."""
    (backend,) = await values(owner_pool, "SELECT pg_backend_pid()")
    task = asyncio.create_task(owner_pool.fetch(ENDLESS, QueryLimits()))
    await wait_until(lambda: running(owner, backend), "the query runs on the server")
    await owner.execute("SELECT pg_terminate_backend($1)", backend)
    with pytest.raises(ToolFailure, match="cannot be reached"):
        await task
    assert await values(owner_pool, "SELECT 1") == (1,)


async def test_frozen_server_is_left(owner_pool: Database) -> None:
    """A backend that no longer reacts, not even to cancelling, costs seconds; the next query gets another."""
    (backend,) = await values(owner_pool, "SELECT pg_backend_pid()")
    assert isinstance(backend, int)
    os.kill(backend, signal.SIGSTOP)
    try:
        async with asyncio.timeout(5):
            assert "did not answer" in await failure(owner_pool, "SELECT 1", QueryLimits(seconds=0.1))
            assert await values(owner_pool, "SELECT 1") == (1,)
    finally:
        os.kill(backend, signal.SIGCONT)


@pytest.mark.parametrize("dsn", ["postgresql://nobody@127.0.0.1:1/none", "postgresql:///x?host=/nonexistent"])
async def test_unreachable_database_is_told_at_use(dsn: str) -> None:
    """The pool opens all the same, so the bot starts; health says down, the tool says so."""
    async with open_database(dsn, size=2, role=RoleCheck("warn")) as pool:
        assert "cannot be reached" in await failure(pool, "SELECT 1")
        assert (await pool.health()).state == "down"


async def test_concurrent_queries_share_a_small_pool(pool: Database) -> None:
    """Twenty at once wait for the one connection, and all are answered."""
    answers = await asyncio.gather(*(values(pool, f"SELECT {number}") for number in range(20)))
    assert answers == [(number,) for number in range(20)]
