"""Tables that the agent may change after an approval."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from bot.storage.embedded import writer_dsn

_MAKE = """
DROP TABLE IF EXISTS {name};
CREATE TABLE {name} (id int PRIMARY KEY, name text NOT NULL, stock int NOT NULL CHECK (stock >= 0));
INSERT INTO {name} VALUES (1, 'apples', 10), (2, 'pears', 20), (3, 'plums', 30);
GRANT SELECT ON {name} TO bot_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO bot_writer;
"""


class Shelf:
    """Table as its owner sees it."""

    def __init__(self, owner: "asyncpg.Connection[asyncpg.Record]", dsn: str, name: str) -> None:
        self.owner = owner
        self.name = name
        self.dsn = dsn

    async def fill(self) -> None:
        """Restore its initial rows and empty its ledger."""
        await self.owner.execute(_MAKE.format(name=self.name))
        if await self.owner.fetchval("SELECT to_regclass('agent_ledger')") is not None:
            await self.owner.execute("DELETE FROM agent_ledger WHERE statement ~ $1", rf"\m{self.name}\M")

    async def stock(self) -> dict[str, int]:
        """Return the stock by item."""
        return {
            row["name"]: row["stock"]
            for row in await self.owner.fetch(f"SELECT * FROM {self.name} ORDER BY id")
        }

    async def ledger(self) -> list[dict[str, object]]:
        """Return the executed changes, the oldest first."""
        if await self.owner.fetchval("SELECT to_regclass('agent_ledger')") is None:
            return []
        query = "SELECT * FROM agent_ledger WHERE statement ~ $1 ORDER BY executed_at"
        return [dict(row) for row in await self.owner.fetch(query, rf"\m{self.name}\M")]


@asynccontextmanager
async def a_shelf(database_url: str, name: str = "shelf") -> AsyncIterator[Shelf]:
    """Create the table in the sample database; `Shelf.dsn` is for the role that may change it."""
    owner = await asyncpg.connect(database_url.replace("//bot_reader@", "//postgres@", 1))
    try:
        shelf = Shelf(owner, writer_dsn(database_url), name)
        await shelf.fill()
        yield shelf
        await owner.execute(f"DROP TABLE IF EXISTS {name}; DROP TABLE IF EXISTS agent_ledger")
    finally:
        await owner.close()


@asynccontextmanager
async def restored_prices(database_url: str) -> AsyncIterator[None]:
    """Undo changes of prices in the sample database, which the tests of a session share."""
    owner = await asyncpg.connect(database_url.replace("//bot_reader@", "//postgres@", 1))
    try:
        await owner.execute("CREATE TEMP TABLE before AS TABLE products")
        yield
        await owner.execute(
            "UPDATE products SET price = before.price FROM before WHERE products.id = before.id"
        )
        await owner.execute("DROP TABLE IF EXISTS agent_ledger")
    finally:
        await owner.close()
