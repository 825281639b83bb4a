"""Look-ups in the inbox, for platforms."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.chat.events import Json, ThreadId


class InboxLookup(Protocol):
    """Look-ups of threads, messages and events; a platform receives them when it is connected.

    All methods except `has_hung` raise `StorageDown`.
    """

    async def active_threads(self, platform: str, since: float) -> Sequence[ThreadId]:
        """Return the joined threads with a message after `since`, and some that are a few minutes older.

        The newest come first, to within these minutes.
        """

    async def active(self, threads: Sequence[ThreadId]) -> frozenset[ThreadId]:
        """Return those in which something waits for an answer, or is being answered."""

    async def is_known(self, message_id: str) -> bool:
        """Return whether a message was taken within the last three days."""

    def has_hung(self, event_id: str) -> bool:
        """Return whether an event has hung the process so often that it is now skipped.

        `event_id` is the part after `event:` in the name of its work, see `bot.chat.working_on`.
        """

    async def receipt_of(self, message_id: str) -> Mapping[str, Json] | None:
        """Return the receipt's state of the turn that answers a message, or None if there is no turn yet."""

    async def is_taken_back(self, thread: ThreadId, message_id: str) -> bool:
        """Return whether a message was taken, and removed from its thread before a turn began with it.

        A stop removes the messages that wait behind the stopped turn in this way.
        """
