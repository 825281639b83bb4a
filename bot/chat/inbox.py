"""Look-ups in the inbox."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.chat.events import Json, ThreadId


class InboxLookup(Protocol):
    """What the inbox knows of threads, messages and events; a platform gets it when it is connected.

    All raise `StorageDown`, except `has_hung`.
    """

    async def active_threads(self, platform: str, since: float) -> Sequence[ThreadId]:
        """Return the threads that the bot takes part in with a message after `since`, the newest first."""

    async def is_known(self, message_id: str) -> bool:
        """Return true for a message that was taken within the last days."""

    def has_hung(self, event_id: str) -> bool:
        """Return true for an event that has hung the process so often that it is now skipped.

        `event_id` is what follows `event:` in the name of the work, see `bot.chat.working_on`.
        """

    async def receipt_of(self, message_id: str) -> Mapping[str, Json] | None:
        """Return the state of the receipt of the turn that took a message; None while no turn has."""

    async def is_taken_back(self, thread: ThreadId, message_id: str) -> bool:
        """Return true for a message that was taken, and then out of its thread before any turn had it.

        That is what happens to a message that waits behind the turn that people stop: nobody answers it.
        """
