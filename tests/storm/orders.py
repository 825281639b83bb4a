"""Database changes that need an approval."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from bot.storage.embedded import writer_dsn
from tests.servers.model import Script

_MAKE = """
CREATE TABLE storm_orders (number int NOT NULL);
GRANT SELECT, INSERT ON storm_orders TO bot_writer;
GRANT SELECT ON storm_orders TO bot_reader;
"""


class Orders:
    """Table with a row for each executed order; `dsn` is for the role that may change it."""

    def __init__(self, owner: "asyncpg.Connection[asyncpg.Record]", dsn: str) -> None:
        self._owner = owner
        self.dsn = dsn

    def of(self, token: str) -> Script:
        """Return the model's script for an order; a token is `q` and a number."""
        statement = f"INSERT INTO storm_orders VALUES ({token.removeprefix('q')})"
        return Script(tool_calls=[("sql_execute", {"statement": statement})])

    async def executions(self, token: str) -> int:
        """Return the number of executions of an order."""
        query = "SELECT count(*) FROM storm_orders WHERE number = $1"
        return int(await self._owner.fetchval(query, int(token.removeprefix("q"))))


@asynccontextmanager
async def open_orders(database_url: str) -> AsyncIterator[Orders]:
    """Create the table in the sample database."""
    owner = await asyncpg.connect(database_url.replace("//bot_reader@", "//postgres@", 1))
    try:
        await owner.execute(_MAKE)
        yield Orders(owner, writer_dsn(database_url))
    finally:
        await owner.close()
