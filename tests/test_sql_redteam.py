"""Everything in `sql_attacks`, through the real `sql_query` tool, as a superuser: only our walls are left.

Before and after, the database is dumped, and the server, its sessions and a file beside it are looked at.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import asyncpg
import pytest
import pytest_asyncio
from langchain_core.tools import BaseTool
from redis.asyncio import Redis

from bot.storage.embedded.postgres import installed_builds
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, QueryLimits, open_database
from bot.tools.toolset import toolset
from tests.support.sql_attacks import (
    ALL,
    BEYOND_THE_TRANSACTION,
    FORTRESS,
    REFUSED,
    SECRET,
)
from tests.support.wait import wait_until

NOT_FOR_THE_SERVER = frozenset(query for group in REFUSED.values() for query in group)
LIMITS = QueryLimits(seconds=0.2)
POOL_SIZE = 2
LEFT_BEHIND_SECONDS = 60
"""How long the server may go on with a query that it does not stop, after we have left it."""

SERVER = {
    "settings": "SELECT name, setting FROM pg_settings WHERE context <> 'internal' ORDER BY 1",
    "stored settings": "SELECT pg_read_file('postgresql.auto.conf', 0, 1000000, true)",
    "files": "SELECT pg_ls_dir('.') ORDER BY 1",
    "databases": "SELECT datname FROM pg_database ORDER BY 1",
    "roles": "SELECT pg_authid, pg_authid.oid FROM pg_authid ORDER BY 2",
    "settings of roles": "SELECT pg_db_role_setting FROM pg_db_role_setting ORDER BY 1",
    "slots": "SELECT slot_name FROM pg_replication_slots",
    "origins": "SELECT roname FROM pg_replication_origin ORDER BY 1",
    "prepared": "SELECT gid FROM pg_prepared_xacts",
    "advisory locks": "SELECT * FROM pg_locks WHERE locktype = 'advisory'",
    "sequences": "SELECT last_value, is_called FROM tickets_seq",
}
SESSION = """
SELECT current_user, session_user, current_setting('search_path'), current_setting('statement_timeout'),
       current_setting('transaction_read_only'), current_setting('default_transaction_read_only'),
       coalesce(current_setting('pg_trgm.similarity_threshold', true), '0.3'),
       coalesce(current_setting('isn.weak', true), 'off'),
       current_setting('timezone'), pg_my_temp_schema(), ARRAY(SELECT pg_listening_channels()),
       (SELECT count(*) FROM pg_cursors WHERE name <> ''), txid_current_if_assigned()
"""


@dataclass(frozen=True, slots=True)
class Fortress:
    """The database under attack, and what stands beside it."""

    url: str
    owner: "asyncpg.Connection[asyncpg.Record]"
    pool: Database
    file: Path
    calm: str
    """The state of a connection that nobody has touched."""

    async def state(self) -> Mapping[str, str]:
        """Everything that must stay: the database as pg_dump writes it, the server, the file."""
        queries = {name: repr(await self.owner.fetch(query)) for name, query in SERVER.items()}
        around = repr(sorted(path.name for path in self.file.parent.iterdir()))
        return {
            **queries,
            "dump": await dump(self.url),
            "file": self.file.read_text() + around,
            "sessions": "\n".join(await self.sessions()),
        }

    async def sessions(self) -> list[str]:
        """The state of every connection of the pool, all in use at once."""
        async with AsyncExitStack() as stack:
            acquired = [connections_of(self.pool).acquire() for _ in range(POOL_SIZE)]
            connections = [await stack.enter_async_context(each) for each in acquired]
            return [repr(await each.fetchrow(SESSION)) for each in connections]

    async def busy(self) -> list[str]:
        """Sessions of the bot that the server still works for, or that stay in a transaction."""
        activity = """SELECT state || ': ' || left(query, 200) FROM pg_stat_activity
                       WHERE datname = 'fortress' AND application_name = 'bot' AND state <> 'idle'"""
        return [row[0] for row in await self.owner.fetch(activity)]


def connections_of(database: Database) -> "asyncpg.Pool[asyncpg.Record]":
    """The connections, which no tool can get hold of."""
    return cast("asyncpg.Pool[asyncpg.Record]", vars(database)["_Database__pool"].connections)


async def dump(url: str) -> str:
    """The database with its large objects, as sorted lines."""
    program = next(builds / "pg_dump" for builds in installed_builds() if (builds / "pg_dump").exists())
    process = await asyncio.create_subprocess_exec(
        program, "--dbname", url, "--large-objects", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    # a random key is new in each dump, and a row that is written anew moves
    return "\n".join(sorted(line for line in output.decode().splitlines() if "restrict" not in line))


@pytest_asyncio.fixture(scope="module", autouse=True)
async def fortress(database_url: str) -> AsyncIterator[Fortress]:
    """The database with its secrets; when all tests are through, all must be as it was."""
    superuser = database_url.replace("bot_reader@", "postgres@", 1)
    url = superuser.replace("/sample?", "/fortress?", 1)
    server = await asyncpg.connect(superuser)
    await server.execute("CREATE DATABASE fortress TEMPLATE template0")
    try:
        owner = await asyncpg.connect(url)
        await owner.execute(FORTRESS)
        calm = repr(await owner.fetchrow(SESSION))
        with TemporaryDirectory(prefix="fortress") as directory:
            file = Path(directory) / "file"
            file.write_text(f"{SECRET}\n")
            file.chmod(0o666)
            file.parent.chmod(0o777)
            async with open_database(url, size=POOL_SIZE) as pool:
                async for fortress in besieged(Fortress(url, owner, pool, file, calm)):
                    yield fortress
    finally:
        await owner.execute("DROP SUBSCRIPTION IF EXISTS feed")  # a database that has one cannot be dropped
        await owner.close()
        await server.execute("DROP DATABASE fortress WITH (FORCE)")
        await server.execute("DROP ROLE IF EXISTS keeper")
        await server.close()


async def besieged(fortress: Fortress) -> AsyncIterator[Fortress]:
    """Compare what was before with what is after."""
    before = await fortress.state()
    yield fortress
    await wait_until(lambda: nobody_busy(fortress), "nothing is left", LEFT_BEHIND_SECONDS)
    assert await fortress.state() == before


async def nobody_busy(fortress: Fortress) -> bool:
    """Return whether the server has done all that was asked of it."""
    return not await fortress.busy()


@pytest.fixture
def sql_query(fortress: Fortress, redis: Redis) -> BaseTool:
    """The tool as the model has it."""
    tools = toolset(fortress.pool, None, LIMITS)
    return next(tool for tool in tools if tool.name == "sql_query")


async def answer(sql_query: BaseTool, query: str, fortress: Fortress) -> tuple[str, bool]:
    """Return the text for the model, and whether it is a failure."""
    try:
        return str(await sql_query.ainvoke({"query": query.replace("FILE", str(fortress.file))})), False
    except ToolFailure as error:
        return str(error), True


def named(query: str) -> str:
    """A short name that is the same in every process of the tests."""
    return f"{hashlib.sha256(query.encode(errors='replace')).hexdigest()[:6]} {query[:50]!a}"


def test_there_are_enough_attacks() -> None:
    """Each is there once."""
    assert len(ALL) == len(set(ALL)) > 500


@pytest.mark.parametrize("query", ALL, ids=named)
async def test_attack_is_refused_or_harmless(query: str, sql_query: BaseTool, fortress: Fortress) -> None:
    """It ends in time with bounded words and no secret; the pool is as it was, and serves the next query.

    What is refused is refused before the server sees it, with a sentence.
    """
    began = time.monotonic()
    text, is_failure = await answer(sql_query, query, fortress)
    assert time.monotonic() - began < 10
    if query in BEYOND_THE_TRANSACTION:
        assert "it belongs to an extension" in text
    if query in NOT_FOR_THE_SERVER:
        assert is_failure
        assert re.search(r"\w \w", text)
        assert "SQLSTATE" not in text  # a sentence of ours, before the server was given the query
    assert 0 < len(text) < 2 * LIMITS.chars
    assert SECRET not in text
    assert await fortress.sessions() == [fortress.calm] * POOL_SIZE
    text, is_failure = await answer(sql_query, "SELECT 41 + 1 AS sum", fortress)
    assert "| 42 |" in text
    assert not is_failure


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        ("UPDATE accounts SET balance = 11 WHERE id = 1", "UPDATE accounts SET balance = 10 WHERE id = 1"),
        ("SELECT nextval('tickets_seq')", "SELECT setval('tickets_seq', 1, false)"),
        ("CREATE TABLE loot (x int)", "DROP TABLE loot"),
        ("SELECT lo_put(4242, 0, 'x')", "SELECT lo_put(4242, 0, 'h')"),
        ("SELECT innocent('accounts', '{\"(0,2)\"}')", "INSERT INTO accounts VALUES (2, 'ben', 20)"),
        ("ALTER ROLE keeper SUPERUSER", "ALTER ROLE keeper NOSUPERUSER"),
        ("ALTER DATABASE fortress SET a.b = 'c'", "ALTER DATABASE fortress RESET a.b"),
        ("ALTER SYSTEM SET work_mem = '5MB'", "ALTER SYSTEM RESET work_mem"),
        ("SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock(1)"),
        ("COPY (SELECT 'stolen') TO 'FILE'", f"COPY (SELECT '{SECRET}') TO 'FILE'"),
    ],
)
async def test_comparison_sees_a_change(change: str, undo: str, fortress: Fortress) -> None:
    """The state that is compared at the end differs after a change."""
    before = await fortress.state()
    await fortress.owner.execute(change.replace("FILE", str(fortress.file)))
    assert await fortress.state() != before
    await fortress.owner.execute(undo.replace("FILE", str(fortress.file)))
    assert await fortress.state() == before


async def test_session_left_behind_is_seen(fortress: Fortress) -> None:
    """A connection of the bot that stays in a transaction is found."""
    async with connections_of(fortress.pool).acquire() as connection:
        await connection.execute("BEGIN")
        assert "idle in transaction: BEGIN" in await fortress.busy()
        await connection.execute("ROLLBACK")
    assert "idle in transaction: BEGIN" not in await fortress.busy()
