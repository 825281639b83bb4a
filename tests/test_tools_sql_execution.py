"""Approved statements: carried out once, with the effect that was shown, or not at all."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from bot.storage.embedded import writer_dsn
from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, open_database
from bot.tools.sql.write import DatabaseWriter, open_database_writer
from tests.support import sql_orders
from tests.support.sql_orders import TAKE, UNTOUCHED, carry_out, propose
from tests.support.table import Shelf
from tests.support.wait import wait_until

readers = sql_orders.readers
orders = sql_orders.orders


NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
TAKEN = {"apples": 9, "pears": 19, "plums": 30}


async def test_an_order_is_carried_out_once_however_often_it_is_run(
    shelf: Shelf, orders: DatabaseWriter
) -> None:
    """The second time, and five times at once, are told the same; the ledger has one row."""
    proposal = await propose(orders, TAKE)
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
    proposal = await propose(orders, TAKE)
    await carry_out(orders, proposal)
    before = await shelf.stock()
    second = await propose(orders, "DELETE FROM shelf WHERE id = 3") if other == "statement" else proposal
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
    proposal = await propose(orders, TAKE)
    async with open_database_writer(shelf.dsn, readers, size=2) as elsewhere:
        told = await asyncio.gather(*(carry_out(each, proposal) for each in (orders, elsewhere) * 3))
    assert len(set(told)) == 1
    assert await shelf.stock() == TAKEN


async def test_another_effect_than_was_shown_is_rolled_back(shelf: Shelf, orders: DatabaseWriter) -> None:
    """Nothing is in the ledger, so that the same request could still run when the rows are back."""
    proposal = await propose(orders, TAKE)
    await shelf.owner.execute("UPDATE shelf SET id = 20 WHERE id = 2")
    with pytest.raises(ToolFailure, match="would now change 1 row, not 2"):
        await carry_out(orders, proposal)
    assert await shelf.stock() == UNTOUCHED
    assert await shelf.ledger() == []


async def test_an_order_that_fails_leaves_nothing(shelf: Shelf, orders: DatabaseWriter) -> None:
    """A violation of the constraint by now is told, with its error."""
    proposal = await propose(orders, "UPDATE shelf SET stock = stock - 10 WHERE id <= 2")
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
    proposal = await propose(orders, TAKE)
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
    proposal = await propose(orders, TAKE)
    async with shelf.owner.transaction():
        await shelf.owner.execute("SELECT FROM shelf WHERE id = 1 FOR UPDATE")
        running = asyncio.create_task(carry_out(orders, proposal))
        await shelf.owner.execute("SELECT pg_terminate_backend($1)", await waiting_for_the_lock(shelf))
    assert await running == "A person approved this, and it was done: 2 rows."
    assert await shelf.stock() == TAKEN
    assert len(await shelf.ledger()) == 1


async def test_a_database_that_is_away_is_not_told_as_a_failure_of_the_order(
    shelf: Shelf, orders: DatabaseWriter, readers: Database
) -> None:
    """Nobody can know then whether it ran: the words say so, and where to look."""
    proposal = await propose(orders, TAKE)
    async with open_database_writer(NOWHERE, readers, size=1, tries=1) as away:
        with pytest.raises(ToolFailure, match=r"unknown whether the statement ran.*7f3a9c21"):
            await carry_out(away, proposal)


async def test_a_role_with_powers_changes_nothing_in_production(
    shelf: Shelf, readers: Database, database_url: str
) -> None:
    """A role that could do anything does not run a model's statements, be they approved."""
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
    proposal = await propose(orders, TAKE)
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
        async with open_database_writer(writer_dsn(database_url), readers, size=1) as orders:
            await carry_out(orders, await propose(orders, TAKE))
        assert await shelf.stock() == TAKEN
        assert len(await shelf.ledger()) == 1
    finally:
        await owner.execute("DROP TABLE agent_ledger; GRANT CREATE ON SCHEMA public TO bot_writer")


async def test_what_was_shown_is_what_runs(shelf: Shelf, orders: DatabaseWriter) -> None:
    """Fault: approved one thing, run another. Neither the call's arguments nor the role's path count."""
    proposal = await propose(orders, TAKE)
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
            proposal = await propose(orders, "UPDATE shelf SET day = '04/05/2026' WHERE day = '02/03/2026'")
            assert "change 3 rows" in proposal.effect
            await carry_out(orders, proposal)
        assert str(await shelf.owner.fetchval("SELECT max(day) FROM shelf")) == "2026-04-05"
    finally:
        await shelf.owner.execute("ALTER ROLE bot_writer RESET datestyle")
