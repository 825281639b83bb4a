"""Protocol of a store for secrets."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.chat.events import Json


class Vault(Protocol):
    """Small records with secrets, encrypted at rest, shared by all processes.

    All methods raise `StorageDown`, also for a record that another ENCRYPTION_KEY has encrypted.
    """

    async def read(self, *ids: str) -> Mapping[str, Mapping[str, Json]]:
        """Return the records with these ids, or all of them; those that do not exist are left out.

        A record that is damaged is empty.
        """

    async def write(
        self, id: str, record: Mapping[str, Json], *, instead_of: Mapping[str, Json] | None = None
    ) -> None:
        """Store a record with this id; with `instead_of`, only in place of that one."""

    async def remove(self, *ids: str) -> None:
        """Remove records; does nothing for those that do not exist."""

    async def drop(self, id: str, record: Mapping[str, Json]) -> None:
        """Remove a record if it is still this one."""

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        """Return the number of the last change, and the ids of the records changed after change `since`."""
