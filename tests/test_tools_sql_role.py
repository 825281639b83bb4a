"""The role of the bot: what health says of it, when the SQL tools are off, and that the docs are right."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest
import pytest_asyncio
from langchain_core.tools import BaseTool
from redis.asyncio import Redis

from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, open_database
from bot.tools.sql.role import RoleCheck, RolePolicy
from bot.tools.toolset import toolset
from tests.servers.model import KEY, ModelServer, Script
from tests.servers.slack.service import ALICE, Slack
from tests.support.bot import ROOT, run_bot

Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SHOP = """
CREATE TABLE orders (id serial PRIMARY KEY, total numeric NOT NULL);
INSERT INTO orders (total) VALUES (10), (32);
CREATE TABLE customers (id int, name text); CREATE TABLE salaries (id int);
CREATE FUNCTION tax() RETURNS int LANGUAGE sql AS 'SELECT 1';
"""
SUM = {"query": "SELECT sum(total) FROM orders"}


@pytest_asyncio.fixture
async def owner(database_url: str) -> AsyncIterator[Owner]:
    """The superuser's connection to a database of our own; roles that a test makes in it go with it."""
    superuser = database_url.replace("bot_reader@", "postgres@", 1)
    server = await asyncpg.connect(superuser)
    roles = {record["rolname"] for record in await server.fetch("SELECT rolname FROM pg_roles")}
    await server.execute("CREATE DATABASE rights TEMPLATE template0")
    owner = await asyncpg.connect(url_of("postgres", database_url))
    try:
        await owner.execute(SHOP)
        yield owner
    finally:
        await owner.close()
        await server.execute("DROP DATABASE rights WITH (FORCE)")
        for record in await server.fetch("SELECT rolname FROM pg_roles"):
            if record["rolname"] not in roles:
                await server.execute(f"DROP OWNED BY {record[0]}; DROP ROLE {record[0]}")
        await server.close()


def url_of(role: str, database_url: str) -> str:
    """The address of our database for a role."""
    return database_url.replace("bot_reader@", f"{role}@", 1).replace("/sample?", "/rights?", 1)


@pytest_asyncio.fixture
async def clerk_url(owner: Owner, database_url: str) -> str:
    """An ordinary role that may read all."""
    await owner.execute("CREATE ROLE clerk LOGIN; GRANT pg_read_all_data TO clerk")
    return url_of("clerk", database_url)


async def rights(url: str, policy: RolePolicy = "warn") -> str:
    """Return the rights of the role, as health tells them."""
    async with open_database(url, size=1, role=RoleCheck(policy)) as database:
        return str((await database.health()).evidence["rights"])


def tools_of(pool: Database, redis: Redis) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in toolset(pool, None)}


async def test_reader_only_reads(database_url: str) -> None:
    """The sample database's role is a proper one: health is well, with ping and version."""
    async with open_database(database_url, size=1, role=RoleCheck("refuse")) as database:
        health = await database.health()
    assert health.state == "ok"
    assert health.evidence["role"] == "bot_reader"
    assert health.evidence["rights"] == "reads only"
    assert str(health.evidence["version"]).startswith("18")


@pytest.mark.parametrize(
    ("given", "concern"),
    [
        ("ALTER ROLE clerk SUPERUSER", "is a superuser"),
        ("ALTER ROLE clerk CREATEROLE", "may create roles"),
        ("ALTER ROLE clerk CREATEDB", "may create databases"),
        ("ALTER ROLE clerk BYPASSRLS", "bypasses row security"),
        ("ALTER ROLE clerk REPLICATION", "may replicate"),
        ("ALTER ROLE clerk SUPERUSER; ALTER ROLE clerk SET ROLE = 'bot_reader'", "is a superuser"),
        ("CREATE ROLE boss SUPERUSER NOINHERIT; GRANT boss TO clerk WITH INHERIT FALSE", "may become boss"),
        ("GRANT pg_write_all_data TO clerk", "has the rights of pg_write_all_data"),
        ("GRANT pg_read_server_files TO clerk", "has the rights of pg_read_server_files"),
        ("GRANT pg_signal_backend TO clerk", "has the rights of pg_signal_backend"),
        ("ALTER DATABASE rights OWNER TO clerk", "owns the database rights"),
        ("CREATE SCHEMA mine AUTHORIZATION clerk", "owns schema mine"),
        ("ALTER TABLE salaries OWNER TO clerk", "owns salaries"),
        ("ALTER TABLE salaries OWNER TO clerk; REVOKE ALL ON salaries FROM clerk", "owns salaries"),
        ("CREATE ROLE team; GRANT team TO clerk; ALTER TABLE salaries OWNER TO team", "owns salaries"),
        ("CREATE VIEW v AS SELECT 1; ALTER VIEW v OWNER TO clerk", "owns v"),
        ("ALTER FUNCTION tax() OWNER TO clerk", "owns function tax()"),
        ("GRANT CREATE ON DATABASE rights TO clerk", "may create schemas"),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "may create in schema public"),
        ("GRANT INSERT ON orders TO clerk", "may write orders"),
        ("GRANT TRUNCATE ON orders TO PUBLIC", "may write orders"),
        ("GRANT UPDATE (total) ON orders TO clerk", "may write orders"),
        ("GRANT USAGE ON SEQUENCE orders_id_seq TO clerk", "may write orders_id_seq"),
    ],
)
async def test_right_too_many_is_told(given: str, concern: str, owner: Owner, clerk_url: str) -> None:
    """Each by itself makes a role that reads only one that does not."""
    assert await rights(clerk_url) == "reads only"
    await owner.execute(given)
    assert concern in (await rights(clerk_url)).split("; ")


@pytest.mark.parametrize(
    ("policy", "state", "evidence"),
    [
        ("warn", "degraded", {"advice": "in production the SQL tools are off"}),
        ("refuse", "degraded", {"sql_tools": "off: give the bot a role that only reads (docs/database.md)"}),
        ("accept", "ok", {"sql_tools": "on: accepted by SQL_ALLOW_PRIVILEGED_ROLE"}),
    ],
)
async def test_health_says_what_follows(
    policy: RolePolicy, state: str, evidence: dict[str, str], owner: Owner, clerk_url: str
) -> None:
    """A role that may write is told with what that means, and what to do."""
    await owner.execute("GRANT DELETE ON orders TO clerk")
    async with open_database(clerk_url, size=1, role=RoleCheck(policy)) as database:
        health = await database.health()
    assert (health.state, health.evidence["rights"]) == (state, "may write orders")
    for key, words in evidence.items():
        assert words in str(health.evidence[key])


async def test_tools_are_off_until_the_role_is_mended(owner: Owner, clerk_url: str, redis: Redis) -> None:
    """Both refuse, say why and whom to tell; without a restart they come back, and go again."""
    await owner.execute("GRANT DELETE ON orders TO clerk")
    role = RoleCheck("refuse", trusted_seconds=0)
    async with open_database(clerk_url, size=1, role=role) as pool:
        tools = tools_of(pool, redis)
        for name, arguments in (("sql_query", SUM), ("sql_schema", {}), ("sql_schema", {"table": "orders"})):
            with pytest.raises(ToolFailure, match="operator must give the bot a role that only reads"):
                await tools[name].ainvoke(arguments)
        await owner.execute("REVOKE DELETE ON orders FROM clerk")
        assert "42" in await tools["sql_query"].ainvoke(SUM)
        assert "orders (table" in await tools["sql_schema"].ainvoke({})
        await owner.execute("ALTER TABLE customers OWNER TO clerk")
        for name, arguments in (("sql_query", SUM), ("sql_schema", {})):
            with pytest.raises(ToolFailure, match="switched off"):
                await tools[name].ainvoke(arguments)


async def test_health_turns_the_tools_off_at_once(owner: Owner, clerk_url: str, redis: Redis) -> None:
    """A good role is trusted for a while, but not past the moment in which health has seen it changed."""
    role = RoleCheck("refuse")
    async with open_database(clerk_url, size=1, role=role) as pool:
        tools = tools_of(pool, redis)
        assert "42" in await tools["sql_query"].ainvoke(SUM)
        await owner.execute("GRANT DELETE ON orders TO clerk")
        assert (await pool.health()).state == "degraded"
        with pytest.raises(ToolFailure, match="switched off"):
            await tools["sql_query"].ainvoke(SUM)


@pytest.mark.parametrize("policy", ["warn", "accept"])
async def test_tools_are_on_for_a_privileged_role_where_that_is_accepted(
    policy: RolePolicy, owner: Owner, database_url: str, redis: Redis
) -> None:
    """In development a superuser is only warned of."""
    role = RoleCheck(policy)
    async with open_database(url_of("postgres", database_url), size=1, role=role) as pool:
        assert "is a superuser" in str((await pool.health()).evidence["rights"])
        assert "42" in await tools_of(pool, redis)["sql_query"].ainvoke(SUM)


@pytest.mark.parametrize(("name", "words"), [("postgres", "switched off"), ("clerk", None)])
async def test_database_that_is_away_at_first_decides_nothing(
    name: str, words: str | None, clerk_url: str, database_url: str, redis: Redis, tmp_path: Path
) -> None:
    """While it is away the tools say so; the role counts from when it is there."""
    (sockets,) = re.findall(r"host=([^&]+)", database_url)
    place = tmp_path / "sockets"
    role = RoleCheck("refuse")
    url = url_of(name, database_url).replace(sockets, str(place))
    async with open_database(url, size=1, role=role) as pool:
        query = tools_of(pool, redis)["sql_query"]
        assert (await pool.health()).state == "down"
        with pytest.raises(ToolFailure, match="cannot be reached"):
            await query.ainvoke(SUM)
        place.symlink_to(sockets.replace("%2F", "/"))
        if words:
            with pytest.raises(ToolFailure, match=words):
                await query.ainvoke(SUM)
        else:
            assert "42" in await query.ainvoke(SUM)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bot_env": "production"}, "The database is switched off for the bot"),
        ({"bot_env": "production", "sql_allow_privileged_role": True}, "| 42 |"),
        ({"bot_env": "development"}, "| 42 |"),
    ],
)
async def test_production_reads_nothing_as_a_superuser(
    settings: dict[str, Any],
    words: str,
    owner: Owner,
    database_url: str,
    redis: Redis,
    redis_url: str,
    model: ModelServer,
    slack: Slack,
) -> None:
    """The whole bot: the model is told in the tool's result, unless the setting says otherwise."""
    model.script(Script(tool_calls=[("sql_query", SUM)]), "That is how it is.")
    of_model = {"openai_api_key": KEY, "openai_base_url": model.base_url, "openai_model": "main-model"}
    of_slack = {
        "slack_bot_token": slack.bot_token,
        "slack_app_token": slack.app_token,
        "slack_api_url": slack.api_url,
    }
    stores = {"redis_url": redis_url, "database_url": url_of("postgres", database_url)}
    async with run_bot(**settings, **stores, **of_model, **of_slack):
        await slack.wait_for_connections()
        dm = slack.dm(ALICE)
        ts = await slack.say(ALICE, dm, "what did we sell?")
        assert "That is how it is." in await slack.answer(dm, ts)
    (result,) = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "tool"]
    assert words in result


DOCS = (ROOT / "docs" / "database.md").read_text()


def documented_sql() -> list[str]:
    """The SQL blocks of the documentation."""
    return re.findall(r"```sql\n(.*?)```", DOCS, re.DOTALL)


async def test_documented_role_only_reads(owner: Owner, database_url: str, redis: Redis) -> None:
    """The three lines, as they stand there, make a role that production takes, and that reads every table."""
    three_lines, *_ = documented_sql()
    assert three_lines.count("\n") == 3
    await owner.execute(three_lines)
    url = url_of("chat_reader", database_url)
    assert await rights(url) == "reads only"
    async with open_database(url, size=1, role=RoleCheck("refuse")) as pool:
        tools = tools_of(pool, redis)
        assert "42" in await tools["sql_query"].ainvoke(SUM)
        assert "salaries" in await tools["sql_schema"].ainvoke({})


async def test_documented_role_for_some_tables_reads_no_others(
    owner: Owner, database_url: str, redis: Redis
) -> None:
    """With the other lines in the place of the second, the rest cannot be read, nor seen."""
    three_lines, some_tables, _ = documented_sql()
    first, _, third = three_lines.splitlines()
    await owner.execute("\n".join((first, some_tables, third)))
    url = url_of("chat_reader", database_url)
    assert await rights(url) == "reads only"
    async with open_database(url, size=1) as pool:
        tools = tools_of(pool, redis)
        assert "42" in await tools["sql_query"].ainvoke(SUM)
        assert "salaries" not in await tools["sql_schema"].ainvoke({})
        with pytest.raises(ToolFailure, match="permission denied for table salaries"):
            await tools["sql_query"].ainvoke({"query": "SELECT * FROM salaries"})


async def test_documented_line_for_old_databases_closes_the_schema(owner: Owner, clerk_url: str) -> None:
    """As a database of Postgres 14 has it, the role may create in `public`; with the line it may not."""
    await owner.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    assert await rights(clerk_url) == "may create in schema public"
    await owner.execute(documented_sql()[2])
    assert await rights(clerk_url) == "reads only"


async def test_documented_limit_bounds_temporary_files(owner: Owner, database_url: str, redis: Redis) -> None:
    """A sort that would fill the disk ends with PostgreSQL's own words."""
    (line,) = re.findall(
        r"`(ALTER ROLE chat_reader SET temp_file_limit[^`]*)`", (ROOT / "docs/database.md").read_text()
    )
    await owner.execute(documented_sql()[0])
    await owner.execute(line.replace("1GB", "1MB"))
    async with open_database(url_of("chat_reader", database_url), size=1) as pool:
        sort = "SELECT g FROM generate_series(1, 1000000) AS g ORDER BY g DESC OFFSET 10"
        with pytest.raises(ToolFailure, match="temp_file_limit"):
            await tools_of(pool, redis)["sql_query"].ainvoke({"query": sort})
