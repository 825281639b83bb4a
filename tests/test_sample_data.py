"""The sample database: what it promises to those who ask it, and that asking is all they can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from bot.storage.embedded.sample_data import sample_rows


def test_sample_is_the_same_for_the_same_day_and_ends_the_day_before() -> None:
    day = date(2024, 2, 29)
    rows = sample_rows(day)
    assert rows == sample_rows(day)
    trade = [*rows["orders"], *rows["tickets"]]
    moments = [value for row in trade for value in row if isinstance(value, datetime)]
    midnight = datetime(2024, 2, 29, tzinfo=UTC)
    assert midnight - timedelta(days=732) < min(moments)
    assert midnight - timedelta(days=1) < max(moments) < midnight


async def test_sample_covers_two_years_up_to_yesterday(sample: asyncpg.Connection[asyncpg.Record]) -> None:
    [(first, last)] = await sample.fetch("SELECT min(ordered_at), max(ordered_at) FROM orders")
    assert timedelta(days=725) < last - first < timedelta(days=732)
    assert datetime.now(UTC) - last < timedelta(days=3)
    months = await sample.fetchval("SELECT count(DISTINCT date_trunc('month', ordered_at)) FROM orders")
    assert months >= 24


async def test_sample_holds_together(sample: asyncpg.Connection[asyncpg.Record]) -> None:
    """The data keeps rules that foreign keys and checks do not hold."""
    for nonsense in (
        "orders JOIN customers c ON c.id = customer_id WHERE ordered_at < signed_up_on",
        "order_items JOIN orders o ON o.id = order_id JOIN products p ON p.id = product_id"
        " WHERE ordered_at < launched_on",
        "orders o WHERE NOT EXISTS (SELECT FROM order_items WHERE order_id = o.id)",
        "tickets t JOIN orders o ON o.id = order_id"
        " WHERE t.customer_id <> o.customer_id OR opened_at < ordered_at",
        "orders WHERE (status IN ('delivered', 'returned')) <> (delivered_at IS NOT NULL)",
    ):
        assert await sample.fetchval(f"SELECT count(*) FROM {nonsense}") == 0, nonsense


async def test_sample_has_stories_to_tell(sample: asyncpg.Connection[asyncpg.Record]) -> None:
    years = await sample.fetch(
        "SELECT count(*) FROM orders GROUP BY ordered_at > now() - interval '1 year' ORDER BY 1"
    )
    assert years[1][0] > 1.2 * years[0][0]  # growth
    lamps = await sample.fetch(
        "SELECT avg((status = 'returned')::int)::float FROM orders o JOIN order_items ON order_id = o.id"
        " JOIN products p ON p.id = product_id GROUP BY p.name = 'Aurora Desk Lamp' ORDER BY 1"
    )
    assert lamps[1][0] > 1.5 * lamps[0][0]  # the bad batch
    opinions = await sample.fetch(
        "SELECT avg(satisfaction)::float FROM tickets"
        " GROUP BY closed_at - opened_at > interval '1 day' ORDER BY 1"
    )
    assert opinions[1][0] > opinions[0][0] + 1  # slow answers


async def test_every_table_of_the_sample_is_explained(sample: asyncpg.Connection[asyncpg.Record]) -> None:
    tables = await sample.fetch(
        "SELECT obj_description(oid) FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    assert len(tables) == 8
    assert all(comment for [comment] in tables)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM tickets",
        "UPDATE products SET price = 1",
        "CREATE TABLE mine (id int)",
        "CREATE TEMP TABLE mine (id int)",
        "COPY regions TO PROGRAM 'cat'",
        "SET ROLE postgres",
    ],
)
async def test_role_of_the_bot_can_only_read(
    sample: asyncpg.Connection[asyncpg.Record], statement: str
) -> None:
    """The transaction is read-only by default, and without that the role lacks the privilege."""
    assert await sample.fetchval("SHOW transaction_read_only") == "on"
    await sample.execute("SET default_transaction_read_only = off")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await sample.execute(statement)


@pytest.fixture
async def sample(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The session's sample database, as the bot sees it."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
