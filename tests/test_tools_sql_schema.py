"""Schema of the SQL tools: tables, columns and names as the reader may see them, bounded."""

import re

import asyncpg
import pytest
from langchain_core.tools import BaseTool

from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, open_database
from bot.tools.toolset import toolset
from tests.support import sql_database

owner_url = sql_database.owner_url
owner = sql_database.owner
pool = sql_database.pool
owner_pool = sql_database.owner_pool
tools = sql_database.tools


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
