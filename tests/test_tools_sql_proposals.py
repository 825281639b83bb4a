"""Statements that change the database: the text and the rehearsal that a person may be shown."""

from dataclasses import replace

import asyncpg
import pytest

from bot.tools.context import use_asker
from bot.tools.errors import ToolFailure
from bot.tools.sql import change as sql_change
from bot.tools.sql.change import MAX_STATEMENT_CHARS, check
from bot.tools.sql.database import Database, open_database
from bot.tools.sql.rehearsal import Allowance
from bot.tools.sql.write import DatabaseWriter, open_database_writer
from tests.support import sql_orders
from tests.support.sql_orders import TAKE, UNTOUCHED, carry_out, propose
from tests.support.table import Shelf
from tests.support.turns import discord_dm, turn_with

readers = sql_orders.readers
orders = sql_orders.orders


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
    """The reading role counts the rows that the statement changes; one that cannot run has no count."""
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
    assert "done: 5,000 rows" in await carry_out(orders, await propose(orders, many))


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
    allowance.use("slack:UA", 0)
    allowance.use("slack:UA", 60)
    with pytest.raises(ToolFailure):
        allowance.use("slack:UA", 61)


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
    """The printed text must parse to the very tree that came in."""
    monkeypatch.setattr(sql_change, "RawStream", lambda: lambda _: "DELETE FROM shelf WHERE id = 2")
    with pytest.raises(ToolFailure, match="cannot be shown exactly"):
        check("DELETE FROM shelf WHERE id = 1")
