"""What all processes of the bot know together."""

from collections.abc import Sequence
from typing import Protocol

from bot.chat.events import Json


class Shared(Protocol):
    """What all processes of the bot know together; a platform gets it when it is connected.

    Names (`limit`, `lease`, `group`, `source`) begin with the platform's. All raise `StorageDown`, but for
    `delay`, which lets the caller go on: a limit that is not kept is only refused.
    """

    async def delay(self, limit: str, per_minute: int) -> float:
        """Count one of the calls that `limit` allows `per_minute`: 0 when counted, else the seconds to wait.

        No minute has more of them, whenever it begins.
        """

    async def lease(self, lease: str, seconds: float, holder: str = "") -> bool:
        """Take or renew a lease for this process: whether it is ours for `seconds` from now.

        A `holder` is a part of this process that shares its lease with no other part.
        """

    async def release(self, lease: str, holder: str = "") -> None:
        """Give a lease back, if it is ours."""

    async def attend(self, group: str, seconds: float, note: Json = None) -> tuple[int, Sequence[Json]]:
        """Count this process to a group for `seconds`, with a note for the others.

        Returns the notes of all that are in it now, in an order that stays, and which of them is ours.
        """

    async def leave(self, group: str) -> None:
        """Do not attend any more."""

    async def agree(self, group: str, wish: int, *, in_use: bool) -> int | None:
        """The number that all who attend a group use; to be asked again and again while attending.

        It stays as long as one of them wishes it. Then it is None, and who was told it must end its use and
        say so, by asking without `in_use`; once all have, it is what the first to ask wishes.
        """

    async def heard_until(self, *sources: str) -> float | None:
        """Until when (Unix seconds) all that the `sources` had to say was taken; None before the first time.

        Of several it is the earliest, and None while one is missing.
        """

    async def set_heard_until(self, source: str, until: float) -> None:
        """Note that all up to `until` was taken. Never moves back."""
