"""Databases for the SQL tools: the sample data for its reader, a scratch database for its owner."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import pytest_asyncio
from langchain_core.tools import BaseTool

from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, QueryLimits, open_database
from bot.tools.toolset import toolset

SCRATCH = """
CREATE TABLE accounts (id serial PRIMARY KEY, owner text NOT NULL, balance numeric NOT NULL);
INSERT INTO accounts (owner, balance) VALUES ('ann', 10), ('ben', 20);
CREATE VIEW rich AS SELECT owner FROM accounts WHERE balance > 15;
CREATE FUNCTION pay() RETURNS int LANGUAGE sql VOLATILE AS 'UPDATE accounts SET balance = 0 RETURNING id';
CREATE FUNCTION shout() RETURNS void LANGUAGE sql AS $$ SELECT pg_notify('everybody', 'stolen') $$;
"""


@asynccontextmanager
async def scratch_database(database_url: str, name: str, schema: str) -> AsyncIterator[str]:
    """Make a database on the embedded server, drop it at the end; yield its DSN for the superuser."""
    superuser = database_url.replace("bot_reader@", "postgres@", 1)
    connection = await asyncpg.connect(superuser)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        url = superuser.replace("/sample?", f"/{name}?", 1)
        scratch = await asyncpg.connect(url)
        await scratch.execute(schema)
        await scratch.close()
        yield url
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="module")
async def owner_url(database_url: str) -> AsyncIterator[str]:
    """Yield the DSN of a scratch database on the embedded server, for its superuser."""
    async with scratch_database(database_url, "scratch", SCRATCH) as url:
        yield url


@pytest_asyncio.fixture
async def owner(owner_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Yield the superuser's connection to the scratch database."""
    connection = await asyncpg.connect(owner_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Database]:
    """Yield the bot's pool, one connection wide so that a broken one is noticed."""
    async with open_database(database_url, size=1) as pool:
        yield pool


@pytest_asyncio.fixture
async def owner_pool(owner_url: str) -> AsyncIterator[Database]:
    """Yield a pool for a superuser of the scratch database: only our own walls are left."""
    async with open_database(owner_url, size=1) as pool:
        yield pool


@pytest.fixture
def tools(pool: Database) -> dict[str, BaseTool]:
    """Return the toolset by name."""
    return {tool.name: tool for tool in toolset(pool, None)}


async def failure(pool: Database, query: str, limits: QueryLimits | None = None) -> str:
    """Return the text of the failure that `query` must end in."""
    with pytest.raises(ToolFailure) as caught:
        await pool.fetch(query, limits or QueryLimits())
    return str(caught.value)


async def values(pool: Database, query: str) -> tuple[object, ...]:
    """Return the only row of a query."""
    (row,) = (await pool.fetch(query, QueryLimits())).rows
    return row
