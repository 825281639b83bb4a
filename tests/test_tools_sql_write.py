"""Statements that change the database: what a person may be shown, and that it runs once, as it was shown."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
import pytest_asyncio

from bot.chat import Json, Proposal
from bot.storage.embedded import for_writing
from bot.tools import (
    Database,
    DatabaseWriter,
    ToolFailure,
    open_database,
    open_database_writer,
    use_asker,
)
from bot.tools.sql import change as sql_change
from bot.tools.sql.change import MAX_STATEMENT_CHARS, check
from bot.tools.sql.rehearsal import Allowance
from tests.support.table import Shelf, a_shelf
from tests.support.turns import discord_dm, turn_with
from tests.support.wait import wait_until

TAKE = "UPDATE shelf SET stock = stock - 1 WHERE id <= 2"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
UNTOUCHED = {"apples": 10, "pears": 20, "plums": 30}
TAKEN = {"apples": 9, "pears": 19, "plums": 30}

REFUSED = {
    "INSERT INTO shelf SELECT 9, 'x', 0xffffffffff": "plain decimals",
    "UPDATE shelf SET stock = 1_000.5 WHERE id = 1": "plain decimals",
    "SELECT * FROM shelf": "SELECT is not allowed",
    "DROP TABLE shelf": "DROP is not allowed",
    "TRUNCATE shelf": "TRUNCATE is not allowed",
    "COPY shelf FROM '/etc/passwd'": "COPY is not allowed",
    "GRANT ALL ON shelf TO public": "GRANT is not allowed",
    "MERGE INTO shelf USING shelf s ON false WHEN NOT MATCHED THEN DO NOTHING": "MERGE is not allowed",
    "DO $$ BEGIN DELETE FROM shelf; END $$": "DO is not allowed",
    "EXPLAIN ANALYZE DELETE FROM shelf WHERE id = 1": "EXPLAIN is not allowed",
    "CREATE TABLE t AS SELECT 1": "CREATE TABLE AS is not allowed",
    "PREPARE p AS DELETE FROM shelf": "PREPARE is not allowed",
    "DELETE FROM shelf": "without WHERE",
    "UPDATE shelf SET stock = 0": "without WHERE",
    "DELETE FROM shelf WHERE id = 1; DELETE FROM shelf WHERE id = 2": "Only one statement",
    "DELETE FROM shelf WHERE id = 1 RETURNING *": "RETURNING is not possible",
    "INSERT INTO shelf VALUES (4, 'figs', 1) RETURNING id": "RETURNING is not possible",
    "WITH gone AS (DELETE FROM shelf RETURNING *) INSERT INTO shelf SELECT * FROM gone": "can only read",
    "INSERT INTO shelf (WITH d AS (DELETE FROM shelf RETURNING *) SELECT * FROM d)": "can only read",
    "INSERT INTO shelf TABLE shelf ON CONFLICT (id) DO UPDATE SET stock = 0": "hides what it overwrites",
    "DELETE FROM shelf \u3164 WHERE id = 5 OR \u3164 IS NOT NULL": "invisible character",
    "DELETE FROM shelf WHERE name = 'a\u2800b'": "invisible character",
    "DELETE FROM shelf WHERE name = 'a\u2003b'": "invisible character",
    "WITH x AS (SELECT 1) UPDATE shelf SET stock = (SELECT pg_sleep(9)) WHERE id = 1": "pg_sleep is not",
    "UPDATE shelf SET name = pg_read_file('/etc/passwd') WHERE id = 1": "pg_read_file is not allowed",
    "UPDATE shelf SET name = (SELECT rolpassword FROM pg_authid LIMIT 1) WHERE id = 1": "pg_authid cannot",
    "INSERT INTO shelf SELECT nextval('s'), 'x', 1": "nextval is not allowed",
    "UPDATE pg_class SET relname = 'x' WHERE oid = 1": "cannot be changed",
    "UPDATE pg_catalog.pg_class SET relname = 'x' WHERE oid = 1": "cannot be changed",
    "DELETE FROM agent_ledger WHERE request = 'x'": "cannot be changed",
    "INSERT INTO public.agent_ledger VALUES ('x')": "cannot be changed",
    "DELETE FROM shelf WHERE id = $1": "Parameters",
    "DELETE FROM shelf WHERE name = '```'": "would end the code block",
    "DELETE FROM shelf WHERE name = 'a\u202eb'": "invisible character",
    "DELETE FROM shelf WHERE name = 'a\u200bb'": "invisible character",
    "DELETE FROM shelf WHERE id = 1 --\x1b[2K": "invisible character",
    "DELETE FROM shelf WHERE id = 1\0": "invisible character",
    "DELETE FROM shelf WHERE id IN (" + ", ".join(["1"] * MAX_STATEMENT_CHARS) + ")": "at most 1,500",
    "INSERT INTO shelf (id, name[(SELECT count(*) FROM customers)]) VALUES (1, 'x')": "whole columns",
    "UPDATE shelf SET stock = 1 WHERE CURRENT OF c": "simpler way",
    "DELETE FORM shelf": "syntax error",
    "": "empty",
}


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        (
            "insert into shelf values (4, 'figs', 1), (5, 'dates', 2)",
            "INSERT INTO shelf VALUES (4, 'figs', 1), (5, 'dates', 2)",
        ),
        ("INSERT INTO shelf SELECT id + 10, name, 0 FROM shelf ON CONFLICT (id) DO NOTHING", None),
        ("UPDATE shelf SET stock = stock + 1 FROM products WHERE products.name = shelf.name", None),
        (
            "DELETE FROM public.shelf USING products WHERE products.id = shelf.id;",
            "DELETE FROM public.shelf USING products WHERE products.id = shelf.id",
        ),
        (
            "WITH few AS (SELECT id FROM shelf WHERE stock < 5) DELETE FROM shelf WHERE id IN (TABLE few)",
            "WITH few AS (SELECT id FROM shelf WHERE stock < 5) "
            "DELETE FROM shelf WHERE id IN (SELECT * FROM few)",
        ),
        (
            "UPDATE shelf\n\tSET name = 'Zwetschgen, süß' WHERE id = 3",
            "UPDATE shelf SET name = 'Zwetschgen, süß' WHERE id = 3",
        ),
        (
            f"UPDATE shelf SET stock = 0 WHERE id = 1{' ' * 1_300}OR true -- only one",
            "UPDATE shelf SET stock = 0 WHERE id = 1 OR TRUE",
        ),
        (
            "DELETE FROM shelf WHERE id = 1\n\n\n\n/* or */ or id > 1",
            "DELETE FROM shelf WHERE id = 1 OR id > 1",
        ),
    ],
)
def test_what_is_shown_is_printed_from_the_parse_so_that_nothing_hides(
    statement: str, shown: str | None
) -> None:
    """Blanks, empty lines, comments and the semicolon are gone; long statements stand on several lines."""
    text = check(statement).statement.text
    assert " ".join(text.split()) == (shown or statement)
    assert check(text).statement.text == text


@pytest_asyncio.fixture
async def shelf(database_url: str) -> AsyncIterator[Shelf]:
    """A table that may be changed."""
    async with a_shelf(database_url) as made:
        yield made


@pytest_asyncio.fixture
async def readers(database_url: str) -> AsyncIterator[Database]:
    """The database for the role that only reads."""
    async with open_database(database_url, size=2) as database:
        yield database


@pytest_asyncio.fixture
async def orders(shelf: Shelf, readers: Database) -> AsyncIterator[DatabaseWriter]:
    """What changes it, with a role that may."""
    async with open_database_writer(shelf.dsn, readers, size=4) as orders:
        yield orders


async def proposed(orders: DatabaseWriter, statement: str, request: str = "7f3a9c21") -> Proposal:
    """What a person is shown."""
    preview = await orders.preview(statement)
    arguments: dict[str, Json] = {"statement": statement}
    return Proposal(
        id=request,
        tool="sql_execute",
        arguments=arguments,
        title=preview.title,
        action=preview.action,
        effect=preview.effect,
        facts=preview.facts,
    )


async def carry_out(orders: DatabaseWriter, proposal: Proposal) -> str:
    return await orders.execute(proposal, "slack:UASKER", "slack:UBOSS")


@pytest.mark.parametrize(("statement", "why"), REFUSED.items(), ids=[each[:50] for each in REFUSED])
async def test_what_nobody_should_approve_is_not_shown(
    orders: DatabaseWriter, statement: str, why: str
) -> None:
    """Each is refused with a sentence of ours before a person sees it, or the server runs it."""
    with pytest.raises(ToolFailure, match=r"\.$|\n") as caught:
        await orders.preview(statement)
    assert "SQLSTATE" not in str(caught.value)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "effect"),
    [
        (TAKE, "It would change 2 rows of shelf."),
        ("DELETE FROM shelf WHERE id = 1", "It would delete 1 row of shelf."),
        ("DELETE FROM shelf WHERE id > 9", "It would delete 0 rows of shelf."),
        ("INSERT INTO shelf VALUES (4, 'figs', 1), (5, 'dates', 1)", "It would add 2 rows to shelf."),
    ],
)
async def test_the_rehearsal_tells_the_effect_and_changes_nothing(
    shelf: Shelf, orders: DatabaseWriter, statement: str, effect: str
) -> None:
    """It is run for real, and rolled back; the ledger stays empty."""
    assert (await orders.preview(statement)).effect == effect
    assert await shelf.stock() == UNTOUCHED
    assert await shelf.ledger() == []


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE shelf SET stock = stock - 11 WHERE id = 1", "violates check constraint"),
        ("UPDATE shelf SET stok = 1 WHERE id = 1", "LINE 1"),
        ("DELETE FROM orders WHERE id = 1", "violates foreign key"),
        ("INSERT INTO nowhere VALUES (1)", "does not exist"),
    ],
)
async def test_what_could_not_run_is_not_asked_for(
    shelf: Shelf, orders: DatabaseWriter, statement: str, why: str
) -> None:
    """The model gets the error of the rehearsal, and no person is bothered."""
    with pytest.raises(ToolFailure, match=why):
        await orders.preview(statement)
    assert await shelf.stock() == UNTOUCHED


async def test_an_order_is_carried_out_once_however_often_it_is_run(
    shelf: Shelf, orders: DatabaseWriter
) -> None:
    """The second time, and five times at once, are told the same; the ledger has one row."""
    proposal = await proposed(orders, TAKE)
    first = await carry_out(orders, proposal)
    again = await asyncio.gather(*(carry_out(orders, proposal) for _ in range(5)))
    assert set(again) == {first} == {"A person approved this, and it was done: 2 rows."}
    assert await shelf.stock() == TAKEN
    (entry,) = await shelf.ledger()
    assert entry["statement"] == TAKE
    assert (entry["asked_by"], entry["approved_by"]) == ("slack:UASKER", "slack:UBOSS")


@pytest.mark.parametrize("other", ["statement", "asked_by"])
async def test_a_request_with_the_name_of_another_in_the_ledger_is_refused_and_never_done(
    shelf: Shelf, orders: DatabaseWriter, other: str
) -> None:
    """Fault: names of 32 bits collide in a ledger that is kept for good; the second was said to be done."""
    proposal = await proposed(orders, TAKE)
    await carry_out(orders, proposal)
    before = await shelf.stock()
    second = await proposed(orders, "DELETE FROM shelf WHERE id = 3") if other == "statement" else proposal
    second = replace(second, id=proposal.id)
    with pytest.raises(ToolFailure, match="Nothing was changed: the table agent_ledger has another change"):
        await orders.execute(second, "slack:UEVE" if other == "asked_by" else "slack:UADA", "slack:UBOB")
    assert await shelf.stock() == before
    assert len(await shelf.ledger()) == 1
    if other == "statement":
        assert await orders.outcome(second) == "The approved change was not carried out."


async def test_two_processes_at_once_carry_it_out_once(
    shelf: Shelf, orders: DatabaseWriter, readers: Database
) -> None:
    """They share nothing but the database."""
    proposal = await proposed(orders, TAKE)
    async with open_database_writer(shelf.dsn, readers, size=2) as elsewhere:
        told = await asyncio.gather(*(carry_out(each, proposal) for each in (orders, elsewhere) * 3))
    assert len(set(told)) == 1
    assert await shelf.stock() == TAKEN


async def test_another_effect_than_was_shown_is_rolled_back(shelf: Shelf, orders: DatabaseWriter) -> None:
    """Nothing is in the ledger, so that the same request could still run when the rows are back."""
    proposal = await proposed(orders, TAKE)
    await shelf.owner.execute("UPDATE shelf SET id = 20 WHERE id = 2")
    with pytest.raises(ToolFailure, match="would now change 1 row, not 2"):
        await carry_out(orders, proposal)
    assert await shelf.stock() == UNTOUCHED
    assert await shelf.ledger() == []


async def test_an_order_that_fails_leaves_nothing(shelf: Shelf, orders: DatabaseWriter) -> None:
    """What the constraint forbids by now is told, with its error."""
    proposal = await proposed(orders, "UPDATE shelf SET stock = stock - 10 WHERE id <= 2")
    await shelf.owner.execute("UPDATE shelf SET stock = 5 WHERE id = 1")
    with pytest.raises(ToolFailure, match="check constraint"):
        await carry_out(orders, proposal)
    assert await shelf.stock() == UNTOUCHED | {"apples": 5}
    assert await shelf.ledger() == []


async def waiting_for_the_lock(shelf: Shelf) -> int:
    """The backend that waits for a row that the owner has locked."""
    query = "SELECT pid FROM pg_locks WHERE NOT granted LIMIT 1"

    async def waits() -> bool:
        return await shelf.owner.fetchval(query) is not None

    await wait_until(waits, "the order waits for the lock")
    return int(await shelf.owner.fetchval(query))


async def test_who_is_cancelled_still_carries_it_out_to_its_end(shelf: Shelf, orders: DatabaseWriter) -> None:
    """Half an order would be nobody's order: the cancellation comes when it is done."""
    proposal = await proposed(orders, TAKE)
    async with shelf.owner.transaction():
        await shelf.owner.execute("SELECT FROM shelf WHERE id = 1 FOR UPDATE")
        running = asyncio.create_task(carry_out(orders, proposal))
        await waiting_for_the_lock(shelf)
        running.cancel()
        await asyncio.sleep(0)
        assert not running.done()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await shelf.stock() == TAKEN


async def test_a_lost_connection_is_no_second_order(shelf: Shelf, orders: DatabaseWriter) -> None:
    """The server ends the session in the midst of it: it is tried again, and done once."""
    proposal = await proposed(orders, TAKE)
    async with shelf.owner.transaction():
        await shelf.owner.execute("SELECT FROM shelf WHERE id = 1 FOR UPDATE")
        running = asyncio.create_task(carry_out(orders, proposal))
        await shelf.owner.execute("SELECT pg_terminate_backend($1)", await waiting_for_the_lock(shelf))
    assert await running == "A person approved this, and it was done: 2 rows."
    assert await shelf.stock() == TAKEN
    assert len(await shelf.ledger()) == 1


async def test_a_database_that_is_away_is_not_told_as_a_failure_of_the_order(
    shelf: Shelf, orders: DatabaseWriter, readers: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can know then whether it ran: the words say so, and where to look."""
    proposal = await proposed(orders, TAKE)
    monkeypatch.setattr("bot.tools.sql.write._TRIES", 1)
    async with open_database_writer(NOWHERE, readers, size=1) as away:
        with pytest.raises(ToolFailure, match=r"unknown whether the statement ran.*7f3a9c21"):
            await carry_out(away, proposal)


async def test_a_rehearsal_tells_nothing_that_the_reading_role_may_not_see(
    shelf: Shelf, readers: Database
) -> None:
    """Nobody has approved it: it names no table that is closed, and its errors quote no value."""
    await shelf.owner.execute(
        "CREATE TABLE secrets (token text); INSERT INTO secrets VALUES ('hunter2');"
        "GRANT SELECT ON secrets TO bot_writer; REVOKE ALL ON secrets FROM bot_reader"
    )
    try:
        async with open_database_writer(shelf.dsn, readers, size=1) as orders:
            with pytest.raises(ToolFailure, match='"secrets" cannot be read'):
                await orders.preview("UPDATE shelf SET stock = (SELECT token::int FROM secrets) WHERE id = 1")
            with pytest.raises(ToolFailure, match="wrong form") as caught:
                await orders.preview("UPDATE shelf SET stock = name::int WHERE id = 1")
            assert "apples" not in str(caught.value)
            assert "would change 1 row" in (await orders.preview(f"{TAKE} AND id > 1")).effect
            few = "WITH few AS (SELECT 1 AS id) DELETE FROM shelf WHERE id IN (SELECT id FROM few)"
            assert "would delete 1 row" in (await orders.preview(few)).effect
    finally:
        await shelf.owner.execute("DROP TABLE secrets")


async def test_a_role_with_powers_changes_nothing_in_production(
    shelf: Shelf, readers: Database, database_url: str
) -> None:
    """What could do anything is not what runs a model's statements, be they approved."""
    superuser = database_url.replace("//bot_reader@", "//postgres@", 1)
    async with open_database_writer(superuser, readers, size=1, refuses_powers=True) as orders:
        with pytest.raises(ToolFailure, match="Changes are switched off"):
            await orders.preview(TAKE)
    async with open_database_writer(shelf.dsn, readers, size=1, refuses_powers=True) as orders:
        assert "2 rows" in (await orders.preview(TAKE)).effect


async def test_the_ledger_tells_what_came_of_an_order(
    shelf: Shelf, orders: DatabaseWriter, readers: Database
) -> None:
    """For people who are not told otherwise, since the answer was stopped or the model has failed."""
    proposal = await proposed(orders, TAKE)
    assert await orders.outcome(proposal) == "The approved change was not carried out."
    await carry_out(orders, proposal)
    assert await orders.outcome(proposal) == "The approved change was carried out: 2 rows."
    async with open_database_writer(NOWHERE, readers, size=1) as away:
        assert "agent_ledger tells" in await away.outcome(proposal)


async def test_health_tells_whether_changes_could_be_made(
    shelf: Shelf, orders: DatabaseWriter, readers: Database, database_url: str
) -> None:
    """A green light must not hide that an approved change would fail."""
    assert (await orders.health()).state == "ok"
    await shelf.owner.execute("DROP TABLE IF EXISTS agent_ledger")
    async with open_database_writer(database_url, readers, size=1) as reading:
        told = await reading.health()
    assert told.state == "degraded"
    assert "agent_ledger is missing" in told.evidence["error"]
    async with open_database_writer(NOWHERE, readers, size=1) as away:
        assert (await away.health()).state == "down"


async def test_a_rehearsal_waits_for_no_lock(shelf: Shelf, orders: DatabaseWriter) -> None:
    """Somebody who works on the row is not in its way for long, nor it in theirs."""
    async with shelf.owner.transaction():
        await shelf.owner.execute("SELECT FROM shelf WHERE id = 1 FOR UPDATE")
        with pytest.raises(ToolFailure, match="locked by somebody else"):
            await orders.preview(TAKE)


async def test_functions_that_hide_what_they_do_are_not_shown(shelf: Shelf, orders: DatabaseWriter) -> None:
    """A person sees a name, not what the function changes."""
    await shelf.owner.execute(
        "CREATE FUNCTION refund_all() RETURNS int LANGUAGE sql AS 'DELETE FROM shelf; SELECT 1';"
        "CREATE FUNCTION refund(int, int) RETURNS int LANGUAGE sql AS 'SELECT refund_all()';"
        "CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = refund);"
        "CREATE TYPE wallet AS (sum int); CREATE FUNCTION fill(int) RETURNS wallet LANGUAGE sql"
        " AS 'SELECT ROW(refund_all())::wallet'; CREATE CAST (int AS wallet) WITH FUNCTION fill(int)"
    )
    try:
        with pytest.raises(ToolFailure, match="refund_all is not allowed"):
            await orders.preview("UPDATE shelf SET stock = refund_all() WHERE id = 1")
        with pytest.raises(ToolFailure, match="operator ### is not allowed"):
            await orders.preview("UPDATE shelf SET stock = 1 ### 2 WHERE id = 1")
        with pytest.raises(ToolFailure, match="type wallet is not allowed"):
            await orders.preview("UPDATE shelf SET stock = (1::wallet).sum WHERE id = 1")
    finally:
        await shelf.owner.execute(
            "DROP OPERATOR ### (int, int); DROP TYPE wallet CASCADE; DROP FUNCTION refund, refund_all"
        )
    assert await shelf.stock() == UNTOUCHED


async def test_a_role_that_only_reads_is_told_before_a_person_is_asked(
    shelf: Shelf, readers: Database, database_url: str
) -> None:
    """The words name the operator and the page that says what to do."""
    await shelf.owner.execute("DROP TABLE IF EXISTS agent_ledger")
    async with open_database_writer(database_url, readers, size=1) as orders:
        with pytest.raises(ToolFailure, match=r"agent_ledger is missing.*docs/approvals\.md"):
            await orders.preview("DELETE FROM products WHERE id = 0")


async def test_the_role_in_the_docs_is_enough(shelf: Shelf, readers: Database, database_url: str) -> None:
    """A ledger that its owner has made, and no right to make tables."""
    owner: asyncpg.Connection[asyncpg.Record] = shelf.owner
    await owner.execute("DROP TABLE IF EXISTS agent_ledger")
    await owner.execute(
        """
        CREATE TABLE agent_ledger (
            request text PRIMARY KEY, statement text NOT NULL, rows bigint NOT NULL, asked_by text NOT NULL,
            approved_by text NOT NULL, executed_at timestamptz NOT NULL DEFAULT now());
        GRANT SELECT, INSERT ON agent_ledger TO bot_writer;
        REVOKE CREATE ON SCHEMA public FROM bot_writer
        """
    )
    try:
        async with open_database_writer(for_writing(database_url), readers, size=1) as orders:
            await carry_out(orders, await proposed(orders, TAKE))
        assert await shelf.stock() == TAKEN
        assert len(await shelf.ledger()) == 1
    finally:
        await owner.execute("DROP TABLE agent_ledger; GRANT CREATE ON SCHEMA public TO bot_writer")


async def test_what_was_shown_is_what_runs(shelf: Shelf, orders: DatabaseWriter) -> None:
    """Fault: approved one thing, run another. Neither the call's arguments nor the role's path count."""
    proposal = await proposed(orders, TAKE)
    forged = replace(proposal, arguments={"statement": "DELETE FROM shelf WHERE id > 0"})
    await shelf.owner.execute(
        "CREATE SCHEMA lure; CREATE TABLE lure.shelf (id int, stock int);"
        "INSERT INTO lure.shelf VALUES (1, 1), (2, 1);"
        "GRANT USAGE ON SCHEMA lure TO bot_writer; GRANT ALL ON lure.shelf TO bot_writer;"
        "ALTER ROLE bot_writer SET search_path = lure, public"
    )
    try:
        async with (
            open_database(shelf.dsn, size=1) as anyone,
            open_database_writer(shelf.dsn, anyone, size=1) as later,
        ):
            assert await carry_out(later, forged) == "A person approved this, and it was done: 2 rows."
        assert await shelf.stock() == TAKEN
        assert await shelf.owner.fetchval("SELECT sum(stock) FROM lure.shelf") == 2
    finally:
        await shelf.owner.execute("DROP SCHEMA lure CASCADE; ALTER ROLE bot_writer RESET search_path")


async def test_a_schema_that_only_the_reading_role_sees_ends_the_rehearsal(shelf: Shelf) -> None:
    """Fault: a name meant one table to who looked, and another to who changed."""
    await shelf.owner.execute(
        "CREATE SCHEMA lure; CREATE TABLE lure.shelf AS TABLE shelf;"
        "GRANT USAGE ON SCHEMA lure TO bot_reader;"
        "GRANT SELECT ON lure.shelf TO bot_reader; ALTER ROLE bot_reader SET search_path = lure, public"
    )
    try:
        reader = shelf.dsn.replace("bot_writer@", "bot_reader@")
        async with (
            open_database(reader, size=1) as others,
            open_database_writer(shelf.dsn, others, size=1) as orders,
        ):
            with pytest.raises(ToolFailure, match="does not see the schema lure"):
                await orders.preview(TAKE)
    finally:
        await shelf.owner.execute("DROP SCHEMA lure CASCADE; ALTER ROLE bot_reader RESET search_path")


async def test_dates_mean_to_who_changes_what_they_meant_to_who_looked(
    shelf: Shelf, readers: Database
) -> None:
    """Fault: the same words, other rows. Whatever the roles' settings are, the reading role's count."""
    await shelf.owner.execute(
        "ALTER TABLE shelf ADD day date; UPDATE shelf SET day = '2026-02-03'; "
        "ALTER ROLE bot_writer SET datestyle = 'ISO, DMY'"
    )
    try:
        async with open_database_writer(shelf.dsn, readers, size=1) as orders:
            proposal = await proposed(orders, "UPDATE shelf SET day = '04/05/2026' WHERE day = '02/03/2026'")
            assert "change 3 rows" in proposal.effect
            await carry_out(orders, proposal)
        assert str(await shelf.owner.fetchval("SELECT max(day) FROM shelf")) == "2026-04-05"
    finally:
        await shelf.owner.execute("ALTER ROLE bot_writer RESET datestyle")


SHAPES = [
    "UPDATE shelf AS s SET stock = s.stock + 1 WHERE s.id > 1",
    "UPDATE ONLY public.shelf SET (name, stock) = ('x', DEFAULT), id = id + 10 WHERE shelf.stock > 10",
    "UPDATE shelf SET (name, stock) = (SELECT 'x' || p.name, 5 FROM products p LIMIT 1) WHERE id = 2",
    "UPDATE shelf SET stock = 1 FROM products p, products q WHERE p.id = q.id AND shelf.id < 3",
    "WITH few AS (TABLE shelf) UPDATE shelf SET stock = 0 FROM few WHERE few.id = shelf.id AND few.id < 3",
    "DELETE FROM shelf USING products p JOIN products q USING (id) WHERE shelf.id > 1",
    "DELETE FROM shelf s WHERE NOT EXISTS (SELECT FROM products p WHERE p.name = s.name) AND name ~~ 'p%'",
    "INSERT INTO shelf VALUES (4, 'a', 1), (5, DEFAULT, 2)",
    "INSERT INTO shelf (stock, name, id) SELECT stock, name, id + 10 FROM shelf UNION SELECT 1, 'x', 99",
    "WITH a AS (SELECT 7 AS n) INSERT INTO shelf WITH b AS (TABLE a) SELECT n, 'x', 1 FROM b",
    "INSERT INTO shelf (id, name) SELECT 7, 'x' ORDER BY 1 LIMIT 1",
    "UPDATE shelf SET stock = 1 FROM products p WHERE id = p.id",
    "UPDATE shelf SET name = (ARRAY['a', 'b'])[id] WHERE id IN (1, 2)",
]


@pytest.mark.parametrize("statement", SHAPES)
async def test_the_reading_part_has_a_row_for_each_that_is_changed(
    shelf: Shelf, readers: Database, statement: str
) -> None:
    """What the reading role counts is what the statement changes; what cannot run cannot be counted."""
    await shelf.owner.execute("ALTER TABLE shelf ALTER name SET DEFAULT 'd', ALTER stock SET DEFAULT 3")
    transaction = shelf.owner.transaction()
    await transaction.start()
    try:
        changed: int | None = int((await shelf.owner.execute(statement)).split()[-1])
    except asyncpg.PostgresError:
        changed = None
    await transaction.rollback()
    if changed is None:
        with pytest.raises(ToolFailure, match="SQLSTATE"):
            await readers.rehearse(check(statement))
    else:
        assert (await readers.rehearse(check(statement))).rows == changed


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("INSERT INTO shelf SELECT n, 'x', 1 FROM generate_series(4, 400000000) n", "too much work"),
        ("UPDATE shelf SET stock = 1 FROM generate_series(1, 90000000) n WHERE n = id", "too much work"),
        (
            "WITH RECURSIVE r AS (SELECT 4 AS n UNION ALL SELECT n + 1 FROM r) "
            "INSERT INTO shelf SELECT n, 'x', 1 FROM r",
            "more than 10,000 rows",
        ),
        ("INSERT INTO shelf SELECT n, repeat('x', 99999), 1 FROM generate_series(4, 99) n", "1,000,000 char"),
        (
            "DELETE FROM shelf WHERE (SELECT count(*) FROM orders a, orders b, orders c) > 0",
            "too much work",
        ),
    ],
)
async def test_a_rehearsal_writes_and_reads_little(
    shelf: Shelf, orders: DatabaseWriter, statement: str, why: str
) -> None:
    """Fault: an unapproved rehearsal filled the disk. It is planned first, then counted, and tried last."""
    before = await shelf.owner.fetchval("SELECT pg_current_wal_insert_lsn()")
    with pytest.raises(ToolFailure, match=why):
        await orders.preview(statement)
    written = await shelf.owner.fetchval("SELECT pg_current_wal_insert_lsn() - $1::pg_lsn", before)
    assert written < 100_000


async def test_a_large_change_is_counted_but_not_tried(shelf: Shelf, orders: DatabaseWriter) -> None:
    """Up to the limit it may be approved; what it writes is written once."""
    many = "INSERT INTO shelf SELECT n, 'x', 1 FROM generate_series(4, 5003) AS n"
    preview = await orders.preview(many)
    assert preview.effect == (
        "It would add 5,000 rows to shelf. It was not tried beforehand: it changes more than 1,000 rows."
    )
    assert "done: 5,000 rows" in await carry_out(orders, await proposed(orders, many))


async def test_rehearsals_of_a_person_are_counted(shelf: Shelf, readers: Database) -> None:
    """Fault: rehearsals without end. One person is not in another's way; after an hour all may again."""
    async with open_database_writer(shelf.dsn, readers, size=1, rehearsals=2) as orders:
        for person in ("1", "2"):
            with use_asker(turn_with(discord_dm(user=person))):
                for _ in range(2):
                    await orders.preview(TAKE)
                with pytest.raises(ToolFailure, match="2 changes prepared within an hour"):
                    await orders.preview(TAKE)
    allowance = Allowance(1, seconds=60)
    allowance.take("slack:UA", 0)
    allowance.take("slack:UA", 60)
    with pytest.raises(ToolFailure):
        allowance.take("slack:UA", 61)


async def test_a_rehearsal_of_a_merged_turn_is_charged_to_who_wrote_last(
    shelf: Shelf, readers: Database
) -> None:
    """Fault: one person's share used up by what others ask in the same turn, which they began."""
    ann, ben = discord_dm(user="1"), discord_dm(user="2")
    merged = replace(turn_with(ann), messages=(ann, ben))
    async with open_database_writer(shelf.dsn, readers, size=1, rehearsals=1) as orders:
        with use_asker(merged):
            await orders.preview(TAKE)
            with pytest.raises(ToolFailure, match="within an hour"):
                await orders.preview(TAKE)
        with use_asker(turn_with(ann)):
            await orders.preview(TAKE)


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE shelf SET name = 'a{' ' * 500}', stock = 0 WHERE id > 0",
        "UPDATE shelf SET name = E'a\\n\\n\\n\\n', stock = 0 WHERE id > 0",
        f'UPDATE shelf AS "s{" " * 40}" SET stock = 0 WHERE id > 0',
        "DELETE FROM shelf WHERE name = E'\\u200b' OR id > 0",
        "DELETE FROM shelf WHERE name = U&'\\202e' OR id > 0",
        "DELETE FROM shelf WHERE name = E'\\x60\\x60\\x60' OR id > 0",
        "DELETE FROM shelf WHERE name = E'\\r' OR id > 0",
        f"DELETE FROM shelf WHERE {'NOT ' * 360} id = 1",
    ],
)
def test_texts_and_escapes_hide_nothing_either(statement: str) -> None:
    """Fault: blind approval. What an escape stands for is seen, or the statement is refused."""
    with pytest.raises(ToolFailure, match=r"invisible character|hide|code block|simpler"):
        check(statement)


@pytest.mark.parametrize("texts", [("\u05d0", "\u05d1"), ("\u0645\u0646", "\u0625\u0644\u0649")])
def test_texts_from_right_to_left_turn_no_values_around(texts: tuple[str, str]) -> None:
    """Fault: between two of them on a line people see the values in the opposite order."""
    payer, payee = texts
    change = check(f"INSERT INTO payments SELECT '{payer}', 1, 900, '{payee}' WHERE \"{payer}\" = 1")
    lines = change.statement.text.splitlines()
    assert [f"'{payer}'", ", 1, 900,", f"'{payee}'", "WHERE", f'"{payer}"', "= 1"] == lines[1:]
    assert check(change.statement.text).statement.text == change.statement.text


def test_a_printer_that_lies_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was printed must parse to the very tree that came in."""
    monkeypatch.setattr(sql_change, "RawStream", lambda: lambda _: "DELETE FROM shelf WHERE id = 2")
    with pytest.raises(ToolFailure, match="cannot be shown exactly"):
        check("DELETE FROM shelf WHERE id = 1")
