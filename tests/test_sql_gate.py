"""The one gate to the database: no tool has another way in, and names are judged by what they stand for."""

import ast
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from langchain_core.tools import BaseTool
from redis.asyncio import Redis

from bot.storage.files import FileStore
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, QueryLimits, open_database
from bot.tools.sql.guard import check
from bot.tools.sql.write import DatabaseWriter, open_database_writer
from bot.tools.toolset import toolset
from tests.support.sql_attacks import BEYOND_THE_TRANSACTION, REFUSED

BOT = Path(__file__).parent.parent / "bot"

# --- by construction

OPENS = {"tools.sql.database", "tools.sql.role", "tools.sql.write"}
"""The modules that begin transactions; those of `IS_GIVEN` are handed a connection by them."""
IS_GIVEN = {f"tools.sql.{name}" for name in ("catalog", "rehearsal", "resolution", "rows")}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The source of the bot, except for the servers that it starts by itself."""
    for path in sorted(BOT.rglob("*.py")):
        if "embedded" not in path.parts:
            yield ".".join(path.relative_to(BOT).with_suffix("").parts), ast.parse(path.read_text())


def imported_from_pool(tree: ast.Module) -> set[str]:
    """The names that a module takes from `tools.sql.pool`, or a star for all of it."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="bot.tools.sql.pool", names=names):
                found |= {each.name for each in names}
            case ast.ImportFrom(module="bot.tools.sql", names=names) if any(
                each.name == "pool" for each in names
            ):
                found.add("*")
            case ast.Import(names=names) if any(each.name == "bot.tools.sql.pool" for each in names):
                found.add("*")
    return found


def test_no_tool_can_have_a_connection_or_a_pool() -> None:
    """Fault: a tool with a way of its own to the database, past the checks of the others."""
    for module, tree in modules():
        taken = imported_from_pool(tree)
        allowed = {"Connection"} if module in IS_GIVEN else None if module in OPENS else set()
        assert allowed is None or taken <= allowed, f"{module} takes {taken} from tools.sql.pool"
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if module == "concurrency.watchdog":  # its `acquire` is that of a lock of threads
            names.discard("acquire")
        ways = {"acquire", "create_pool", "_Database__pool", "_DatabaseWriter__pool"}
        assert module == "tools.sql.pool" or not names & ways, module
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert "asyncpg.connect" not in calls, module
    for kind in (Database, DatabaseWriter):
        assert not [name for name in vars(kind) if "pool" in name or "connection" in name]


def test_every_statement_of_a_tool_passes_the_same_check() -> None:
    """A transaction is begun for a fixed query of ours, or behind `require_harmless`; nowhere else."""
    [database] = [tree for module, tree in modules() if module == "tools.sql.database"]
    readers = {
        function.name
        for function in ast.walk(database)
        if isinstance(function, ast.AsyncFunctionDef)
        and any(
            isinstance(node, ast.Call) and ast.unparse(node.func) == "read_transaction"
            for node in ast.walk(function)
        )
    }
    assert readers == {"catalog", "relation", "values", "require_admission", "__admit"}
    [admitted] = [
        node
        for node in ast.walk(database)
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "__admit"
    ]
    assert ast.unparse(admitted).index("await require_harmless(") < ast.unparse(admitted).index(
        "yield connection"
    )


# --- by what is answered

OWN = """
CREATE EXTENSION pg_trgm; CREATE EXTENSION pg_surgery;
CREATE TABLE pg_orders (id int, total int); INSERT INTO pg_orders VALUES (1, 42);
CREATE TABLE user_mappings (id int, "user" text); INSERT INTO user_mappings VALUES (1, 'ann');
CREATE TYPE reply AS (http int, xpath text);
CREATE TABLE logs (http int, xpath text, set_limit real, pg_sleep float8, reply reply);
INSERT INTO logs VALUES (200, '/a', 0.5, 1.5, ROW(404, '/b'));
CREATE TABLE agent_ledger (request text PRIMARY KEY, statement text NOT NULL, rows bigint NOT NULL,
    asked_by text NOT NULL, approved_by text NOT NULL, executed_at timestamptz NOT NULL DEFAULT now());
CREATE SCHEMA net; CREATE FUNCTION net.cost(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION http(code int) RETURNS text LANGUAGE sql AS $$ SELECT 'status ' || code $$;
CREATE FUNCTION pg_label(int) RETURNS text LANGUAGE sql AS $$ SELECT 'number ' || $1 $$;
CREATE FUNCTION xpath(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION nap(float8) RETURNS void LANGUAGE internal AS 'pg_sleep';
CREATE FUNCTION innocent(regclass, tid[]) RETURNS void LANGUAGE c AS '$libdir/pg_surgery', 'heap_force_kill';
"""

OWN_NAMES = [
    "SELECT total FROM pg_orders",
    "SELECT o.total FROM public.pg_orders AS o",
    "SELECT * FROM user_mappings",
    "WITH pg_totals AS (SELECT sum(total) AS sum FROM pg_orders) SELECT pg_totals.sum FROM pg_totals",
    "WITH user_mapping_options(a) AS (VALUES (1)) TABLE user_mapping_options",
    "SELECT l.http, l.xpath, l.set_limit, l.pg_sleep FROM logs AS l",
    "SELECT logs.xpath FROM logs",
    "SELECT public.logs.set_limit FROM public.logs",
    "SELECT r.http FROM (SELECT 200 AS http) AS r",
    "SELECT r.set_limit FROM (SELECT set_limit FROM logs UNION SELECT 1) AS r",
    "WITH r AS (SELECT set_limit FROM logs) SELECT x.set_limit FROM r AS x",
    "WITH r(pg_sleep) AS (VALUES (1)) SELECT r.pg_sleep FROM r JOIN logs AS l ON l.pg_sleep > r.pg_sleep",
    "SELECT t.pg_sleep FROM generate_series(1, 2) AS t(pg_sleep)",
    "SELECT (l.reply).http, (l.reply).xpath FROM logs AS l",
    "SELECT net.cost(1), http(200), pg_label(1), public.xpath(1)",
    "SELECT count(*) FROM logs AS l GROUP BY l.http HAVING max(l.set_limit) > 0",
]

STILL_REFUSED = {
    "SELECT statement, asked_by FROM agent_ledger": "shows the requests of other users",
    'SELECT (l).asked_by FROM public."agent_ledger" AS l': "agent_ledger cannot be read",
    "WITH x AS (TABLE agent_ledger) SELECT count(*) FROM x": "agent_ledger cannot be read",
    "SELECT most_common_vals::text FROM pg_stats WHERE tablename = 'agent_ledger'": "values of",
    "SELECT histogram_bounds::text FROM pg_catalog.pg_stats": "values of the table agent_ledger",
    "SELECT 1 IN (WITH pg_stats AS (SELECT 1) TABLE pg_stats) UNION SELECT 1 FROM pg_stats": "values of",
    "SELECT x.exprs::text FROM pg_stats_ext AS x": "values of the table agent_ledger",
    "SELECT f.pg_ls_dir FROM (VALUES ('/')) AS v(t), unnest(ARRAY[t]) AS f": "pg_ls_dir is not allowed",
    "SELECT f.pg_sleep FROM generate_series(1, 3) AS f": "pg_sleep is not allowed",
    "SELECT (9.0::float8).pg_sleep": "pg_sleep is not allowed",
    "SELECT (0.9::real).set_limit": "set_limit is not allowed",
    "SELECT f.set_limit FROM unnest(ARRAY[0.9::real]) AS f": "set_limit is not allowed",
    # one item of that name has such a column, another has not
    "SELECT l.pg_sleep FROM logs AS l, LATERAL (SELECT l.pg_sleep FROM unnest(ARRAY[9]) l) m": "pg_sleep is",
    "WITH logs AS (SELECT 9) SELECT l.pg_sleep FROM logs AS l": "pg_sleep is not allowed",
    "SELECT l.pg_sleep FROM logs AS l(a, b, c, d)": "pg_sleep is not allowed",
    "WITH pg_authid AS (SELECT 1) SELECT * FROM pg_catalog.pg_authid": "pg_authid cannot be read",
    "SELECT 1 IN (WITH pg_authid AS (SELECT 1) TABLE pg_authid) UNION TABLE pg_authid": "pg_authid cannot",
    "WITH pg_shadow AS (TABLE pg_shadow) TABLE pg_shadow": "pg_shadow cannot be read",
    "SELECT xpath('//a', '<a/>'::xml)": "XML paths are not possible",
    "SELECT pg_catalog.pg_sleep(9)": "pg_sleep is not allowed",
    "SELECT nap(9)": "it belongs to an extension",
    "SELECT innocent('logs', ARRAY['(0,1)']::tid[])": "it belongs to an extension",
    "SELECT net.http_post('http://evil.example')": "http_post is not allowed",
}


@pytest_asyncio.fixture(scope="module")
async def own_url(database_url: str) -> AsyncIterator[str]:
    """A database whose own objects are called like what is refused; the address of its superuser."""
    superuser = database_url.replace("bot_reader@", "postgres@", 1)
    server = await asyncpg.connect(superuser)
    await server.execute("CREATE DATABASE own TEMPLATE template0")
    url = superuser.replace("/sample?", "/own?", 1)
    owner = await asyncpg.connect(url)
    await owner.execute(OWN)
    await owner.close()
    yield url
    await server.execute("DROP DATABASE own WITH (FORCE)")
    await server.close()


@pytest_asyncio.fixture
async def database(own_url: str) -> AsyncIterator[Database]:
    """As a superuser: only our own walls are left."""
    async with open_database(own_url, size=1) as database:
        yield database


@pytest_asyncio.fixture
async def tools(database: Database, own_url: str, redis: Redis) -> AsyncIterator[dict[str, BaseTool]]:
    """All tools that send statements to the database."""
    async with open_database_writer(own_url, database, size=1) as orders:
        keep = FileStore(redis).keep
        yield {each.name: each for each in toolset(database, None, QueryLimits(seconds=5), keep, orders)}


@pytest.mark.parametrize("query", OWN_NAMES)
async def test_own_objects_may_have_any_name(query: str, database: Database) -> None:
    """Fault: a table, column, function or query of WITH refused since PostgreSQL has one of that name."""
    assert (await database.fetch(query, QueryLimits())).rows


async def test_own_tables_may_be_changed_whatever_their_name(own_url: str, database: Database) -> None:
    """Those of PostgreSQL may not."""
    async with open_database_writer(own_url, database, size=1) as orders:
        assert (
            "change 1 row of pg_orders"
            in (await orders.preview("UPDATE pg_orders SET id = 2 WHERE id = 1")).effect
        )
        for table in ("pg_authid", "pg_class", "pg_catalog.pg_proc", "information_schema.sql_features"):
            with pytest.raises(ToolFailure, match="cannot be"):
                await orders.preview(f"DELETE FROM {table} WHERE true")


REFUSED_ANYWHERE = {
    **STILL_REFUSED,
    **dict.fromkeys(BEYOND_THE_TRANSACTION[:2], "it belongs to an extension"),
    **{
        query: ""
        for group in REFUSED.values()
        for query in group[::7]
        if query.startswith("SELECT") and "http(" not in query
    },
}


@pytest.mark.parametrize("query", REFUSED_ANYWHERE)
async def test_every_tool_refuses_the_same_with_the_same_words(
    query: str, tools: dict[str, BaseTool]
) -> None:
    """Fault: `export` and `chart` ran functions that `sql_query` refused."""
    told = set()
    for tool, arguments in (
        ("sql_query", {"query": query}),
        ("export", {"query": query}),
        ("table", {"query": query}),
        ("chart", {"query": query, "kind": "bar"}),
    ):
        with pytest.raises(ToolFailure) as caught:
            await tools[tool].ainvoke(arguments)
        told.add(str(caught.value))
    [words] = told
    assert REFUSED_ANYWHERE[query] in words
    assert "SQLSTATE" not in words


@pytest.mark.parametrize("query", STILL_REFUSED)
async def test_a_change_refuses_the_same(query: str, own_url: str, database: Database) -> None:
    """Fault: what may not be read was read inside of a change."""
    async with open_database_writer(own_url, database, size=1) as orders:
        with pytest.raises(ToolFailure) as caught:
            await orders.preview(f"DELETE FROM logs WHERE EXISTS ({query})")
    assert "SQLSTATE" not in str(caught.value)


async def test_the_ledger_of_changes_is_listed_and_described_for_nobody(
    tools: dict[str, BaseTool], database: Database
) -> None:
    """Fault: a table of the bot's own, with what others asked, that everybody could read."""
    assert "agent_ledger" not in await tools["sql_schema"].ainvoke({})
    with pytest.raises(ToolFailure, match="no table 'agent_ledger'"):
        await tools["sql_schema"].ainvoke({"table": "agent_ledger"})
    own = "WITH agent_ledger_of_mine AS (SELECT 1 AS n) TABLE agent_ledger_of_mine"
    assert (await database.fetch(own, QueryLimits())).rows


def test_columns_are_known_only_where_every_item_of_that_name_has_them() -> None:
    """The items of FROM by the name that stands before a dot, in whatever scope they are."""
    mentions = check("WITH c(a) AS (SELECT 1) SELECT x.a, (y).b FROM c AS x, (SELECT 1 AS d) AS x").mentions
    assert {(each.schema, each.name) for each in mentions.attributes} == {("x", "a"), ("", "b")}
    assert [each.relation and each.relation.name for each in mentions.sources["x"]] == ["c", None]
    assert [each.columns for each in mentions.with_queries["c"]] == [{"a"}]
