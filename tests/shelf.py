"""A table that the agent may change when a person approves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from bot.embedded import for_writing

_MAKE = """
DROP TABLE IF EXISTS shelf;
CREATE TABLE shelf (id int PRIMARY KEY, name text NOT NULL, stock int NOT NULL CHECK (stock >= 0));
INSERT INTO shelf VALUES (1, 'apples', 10), (2, 'pears', 20), (3, 'plums', 30);
GRANT SELECT ON shelf TO bot_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON shelf TO bot_writer;
"""


class Shelf:
    """The table, as its owner sees it."""

    def __init__(self, owner: "asyncpg.Connection[asyncpg.Record]", dsn: str) -> None:
        self.owner = owner
        self.dsn = dsn

    async def stock(self) -> dict[str, int]:
        """What is on the shelf."""
        return {
            row["name"]: row["stock"] for row in await self.owner.fetch("SELECT * FROM shelf ORDER BY id")
        }

    async def ledger(self) -> list[dict[str, object]]:
        """What was carried out, the oldest first."""
        if await self.owner.fetchval("SELECT to_regclass('agent_ledger')") is None:
            return []
        return [
            dict(row) for row in await self.owner.fetch("SELECT * FROM agent_ledger ORDER BY executed_at")
        ]


@asynccontextmanager
async def a_shelf(database_url: str) -> AsyncIterator[Shelf]:
    """The table in the sample database; `Shelf.dsn` is for the role that may change it."""
    owner = await asyncpg.connect(database_url.replace("//bot_reader@", "//postgres@", 1))
    try:
        await owner.execute(_MAKE)
        yield Shelf(owner, for_writing(database_url))
        await owner.execute("DROP TABLE IF EXISTS shelf; DROP TABLE IF EXISTS agent_ledger")
    finally:
        await owner.close()
