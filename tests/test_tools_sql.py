"""The SQL tools against a real Postgres, as the reader of the sample data and as an owner."""

import asyncio
import gc
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from decimal import Decimal
from traceback import walk_stack

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import BaseTool

from bot.tools import Database, QueryLimits, RoleCheck, ToolFailure, open_database, toolset
from bot.tools.sql.deny_list import is_denied_function
from bot.tools.sql.format import (
    Column,
    Result,
    markdown,
    point_at,
)
from bot.tools.sql.guard import (
    READING,
    check,
    inspect,
    parse_one,
)
from tests.support.sql_attacks import ENDLESS
from tests.support.wait import wait_until

SCRATCH = """
CREATE TABLE accounts (id serial PRIMARY KEY, owner text NOT NULL, balance numeric NOT NULL);
INSERT INTO accounts (owner, balance) VALUES ('ann', 10), ('ben', 20);
CREATE VIEW rich AS SELECT owner FROM accounts WHERE balance > 15;
CREATE FUNCTION pay() RETURNS int LANGUAGE sql VOLATILE AS 'UPDATE accounts SET balance = 0 RETURNING id';
CREATE FUNCTION shout() RETURNS void LANGUAGE sql AS $$ SELECT pg_notify('everybody', 'stolen') $$;
"""


@pytest_asyncio.fixture(scope="session")
async def owner_url(database_url: str) -> AsyncIterator[str]:
    """A database of our own on the embedded server, as its superuser."""
    superuser = database_url.replace("bot_reader@", "postgres@", 1)
    connection = await asyncpg.connect(superuser)
    try:
        await connection.execute("CREATE DATABASE scratch TEMPLATE template0")
        url = superuser.replace("/sample?", "/scratch?", 1)
        scratch = await asyncpg.connect(url)
        await scratch.execute(SCRATCH)
        await scratch.close()
        yield url
        await connection.execute("DROP DATABASE scratch WITH (FORCE)")
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def owner(owner_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The superuser's connection to the scratch database."""
    connection = await asyncpg.connect(owner_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Database]:
    """The bot's pool, one connection wide so that a broken one is noticed."""
    async with open_database(database_url, size=1) as pool:
        yield pool


@pytest_asyncio.fixture
async def owner_pool(owner_url: str) -> AsyncIterator[Database]:
    """The same as a superuser of the scratch database: only our own walls are left."""
    async with open_database(owner_url, size=1) as pool:
        yield pool


@pytest.fixture
def tools(pool: Database) -> dict[str, BaseTool]:
    """The toolset by name."""
    return {tool.name: tool for tool in toolset(pool, None)}


async def failure(pool: Database, query: str, limits: QueryLimits | None = None) -> str:
    """The text of the failure that `query` must end in."""
    with pytest.raises(ToolFailure) as caught:
        await pool.fetch(query, limits or QueryLimits())
    return str(caught.value)


async def values(pool: Database, query: str) -> tuple[object, ...]:
    """The only row of a query."""
    (row,) = (await pool.fetch(query, QueryLimits())).rows
    return row


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
    """What people ask for is not refused."""
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
    """Whether the server works on the endless query for the process `backend`."""
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


async def test_schema_overview_names_tables_columns_and_keys(tools: dict[str, BaseTool]) -> None:
    """One call tells what a model needs for a join."""
    text = await tools["sql_schema"].ainvoke({})
    assert "customers (table, about " in text
    assert "signed_up_on date" in text
    assert "FOREIGN KEY (customer_id) REFERENCES customers(id)" in text
    assert "One row per order." in text
    assert "pg_class" not in text


async def test_schema_of_a_table_has_comments_and_sample_values(tools: dict[str, BaseTool]) -> None:
    """Low-cardinality columns show their values, others do not."""
    text = await tools["sql_schema"].ainvoke({"table": 'public."Tickets"'})
    assert "- priority text NOT NULL (values such as 'high', 'low', 'normal', 'urgent')" in text
    assert "- satisfaction integer: 1 (bad) to 5 (good)" in text
    customers = await tools["sql_schema"].ainvoke({"table": "customers"})
    assert "@" not in customers


async def test_unknown_table_gets_suggestions(tools: dict[str, BaseTool]) -> None:
    """A near miss is answered with the name that was meant."""
    with pytest.raises(ToolFailure, match="Did you mean customers"):
        await tools["sql_schema"].ainvoke({"table": "custmers"})


async def test_schema_is_cached_until_a_query_shows_a_change(
    owner_pool: Database, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A new table appears after an undefined name, not before; views, odd names and odd values work."""
    schema, query, *_ = toolset(owner_pool, None)
    before = await schema.ainvoke({})
    assert "rich (view)" in before
    await owner.execute("""
        CREATE SCHEMA "Own"; CREATE TYPE mood AS ENUM ('sad', 'glad');
        CREATE TABLE "Own"."My Table" ("Select" mood, plain text);
        COMMENT ON COLUMN "Own"."My Table".plain IS E'with | pipe\nand line';
        INSERT INTO "Own"."My Table" VALUES ('glad', 'it''s | odd')
    """)
    try:
        assert await schema.ainvoke({}) == before
        with pytest.raises(ToolFailure, match="My Table"):
            await query.ainvoke({"query": "SELECT * FROM nowhere"})
        assert '"Own"."My Table" (table)' in await schema.ainvoke({})
        text = await schema.ainvoke({"table": "own.my table"})
        assert "- \"Select\" mood (values such as 'glad')" in text
        assert '- plain text: with | pipe and line (values such as "it\'s | odd")' in text
    finally:
        await owner.execute('DROP SCHEMA "Own" CASCADE; DROP TYPE mood')


async def test_schema_shows_only_what_the_role_may_read(
    owner: "asyncpg.Connection[asyncpg.Record]", owner_url: str
) -> None:
    """A role with two columns of a table sees these two, and no other table."""
    await owner.execute("CREATE ROLE peeper LOGIN; GRANT SELECT (id, owner) ON accounts TO peeper")
    try:
        async with open_database(owner_url.replace("postgres@", "peeper@", 1), size=1) as pool:
            text = await toolset(pool, None)[0].ainvoke({})
            assert "id integer, owner text\n" in text
            assert "rich" not in text
    finally:
        await owner.execute("REVOKE ALL ON accounts FROM peeper; DROP ROLE peeper")


async def test_schema_of_many_tables_is_bounded(
    owner: "asyncpg.Connection[asyncpg.Record]", owner_pool: Database
) -> None:
    """Four hundred wide tables do not flood the model."""
    columns = ", ".join(f"some_column_{number} int" for number in range(30))
    tables = "; ".join(
        f"CREATE TABLE many.table_{number}_with_a_long_name ({columns})" for number in range(400)
    )
    await owner.execute(f"CREATE SCHEMA many; {tables}")
    try:
        text = await toolset(owner_pool, None)[0].ainvoke({})
        assert len(text) < 13_000
        assert "accounts (table)" in text
        assert "and more" in text
    finally:
        await owner.execute("DROP SCHEMA many CASCADE")


async def test_tool_names_and_arguments_are_the_contract(tools: dict[str, BaseTool]) -> None:
    """Without memory and files; test_tools.py has all. The thread is nothing that a model can give."""
    assert {name: list(tool.args) for name, tool in tools.items()} == {
        "sql_schema": ["table"],
        "sql_query": ["query"],
        "current_time": ["zone"],
    }


async def test_table_with_many_columns_is_bounded(
    owner: "asyncpg.Connection[asyncpg.Record]", owner_pool: Database
) -> None:
    """A thousand columns with comments do not flood the model; it is told where the rest is."""
    names = [f"some_column_{number}" for number in range(1_000)]
    comments = "; ".join(f"COMMENT ON COLUMN wide.{name} IS '{'x' * 300}'" for name in names)
    await owner.execute(f"CREATE TABLE wide ({', '.join(f'{name} int' for name in names)}); {comments}")
    try:
        text = await toolset(owner_pool, None)[0].ainvoke({"table": "wide"})
        assert len(text) < 13_000
        assert text.endswith("… and more; information_schema has the rest")
    finally:
        await owner.execute("DROP TABLE wide")


async def test_unknown_table_of_any_length_is_answered_in_short(tools: dict[str, BaseTool]) -> None:
    """The name is the model's: neither compared nor repeated whole."""
    with pytest.raises(ToolFailure) as caught:
        await tools["sql_schema"].ainvoke({"table": "x" * 1_000_000})
    assert len(str(caught.value)) < 1_500


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
    """What may have effects is refused by its name, or stands in the list above: a new version shows here."""
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


async def test_a_quoted_name_means_that_table(
    owner: "asyncpg.Connection[asyncpg.Record]", owner_pool: Database
) -> None:
    """Fault: `"Orders"` described `orders`. Names are read as SQL reads them first."""
    await owner.execute(
        'CREATE TABLE orders (small int); CREATE TABLE "Orders" (large int); CREATE TABLE "Only" (a int);'
        'CREATE SCHEMA shop; CREATE TABLE shop.orders (other int); CREATE TABLE shop."x.y" (dotted int)'
    )
    try:
        describe = toolset(owner_pool, None)[0]
        for table, column in {
            "orders": "- small",
            "Orders": "- small",
            '"Orders"': "- large",
            'public."Orders"': "- large",
            "shop.orders": "- other",
            'shop."x.y"': "- dotted",
            "only": "- a",
            "PUBLIC.ONLY": "- a",
            '"only"': "- a",
        }.items():
            assert column in await describe.ainvoke({"table": table}), table
        for table in ("a.b.c.d", '"open', "nosuchdb.public.orders", "orders; drop table orders", "or\nders"):
            with pytest.raises(ToolFailure, match="There is no table"):
                await describe.ainvoke({"table": table})
    finally:
        await owner.execute('DROP TABLE orders, "Orders", "Only"; DROP SCHEMA shop CASCADE')


async def test_no_table_is_too_many(
    owner: "asyncpg.Connection[asyncpg.Record]", owner_pool: Database
) -> None:
    """Fault: from 501 tables on, tables "do not exist". The list says what it leaves out."""
    tables = "; ".join(f"CREATE VIEW heap.v_{number:04d} AS SELECT 1 AS a" for number in range(700))
    await owner.execute(f"CREATE SCHEMA heap; {tables}; CREATE TABLE heap.zebra (stripes int)")
    try:
        describe = toolset(owner_pool, None)[0]
        text = await describe.ainvoke({})
        total = await owner.fetchval(
            "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'v') AND oid > 16384"
        )
        found = re.search(r"only (\d+) of (\d+) tables are listed", text)
        assert found is not None
        assert int(found[1]) == text.count("(view)") + text.count("(table")
        assert int(found[2]) == total > 700
        assert len(text) < 13_000
        assert "- stripes integer" in await describe.ainvoke({"table": "heap.zebra"})
        assert "- stripes integer" in await describe.ainvoke({"table": "ZEBRA"})
        with pytest.raises(ToolFailure, match=r"Did you mean heap\.zebra"):
            await describe.ainvoke({"table": "heap.zebraa"})
        with pytest.raises(ToolFailure, match=r"and 6\d\d more"):
            await describe.ainvoke({"table": "giraffe"})
    finally:
        await owner.execute("DROP SCHEMA heap CASCADE")
