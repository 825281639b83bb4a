"""Statements that change a table, proposed and carried out."""

from collections.abc import AsyncIterator

import pytest_asyncio

from bot.chat import Json, Proposal
from bot.tools.sql.database import Database, open_database
from bot.tools.sql.write import DatabaseWriter, open_database_writer
from tests.support.table import Shelf

TAKE = "UPDATE shelf SET stock = stock - 1 WHERE id <= 2"
UNTOUCHED = {"apples": 10, "pears": 20, "plums": 30}


@pytest_asyncio.fixture
async def readers(database_url: str) -> AsyncIterator[Database]:
    """Yield the database for the role that only reads."""
    async with open_database(database_url, size=2) as database:
        yield database


@pytest_asyncio.fixture
async def orders(shelf: Shelf, readers: Database) -> AsyncIterator[DatabaseWriter]:
    """Yield the writer of the table, with a role that may change it."""
    async with open_database_writer(shelf.dsn, readers, size=4) as orders:
        yield orders


async def propose(orders: DatabaseWriter, statement: str, request: str = "7f3a9c21") -> Proposal:
    """Return the proposal that a person is shown."""
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
    """Carry out a proposal that somebody approved."""
    return await orders.execute(proposal, "slack:UASKER", "slack:UBOSS")
