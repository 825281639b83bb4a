"""Coordination of all processes of the bot."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.chat.events import Json


@dataclass(frozen=True, slots=True)
class Permit:
    """Permit for one call, which counts as made in `second` (Unix time of the shared clock)."""

    call: str
    second: int


class Coordination(Protocol):
    """Coordination of all processes of the bot; a platform receives it when it is connected.

    Names (`counter`, `lease`, `group`, `source`) begin with the platform's. All methods raise `StorageDown`,
    except `take`, which then lets the caller continue: the chat service refuses calls over its limit.
    """

    async def take(
        self, counter: str, calls: Mapping[str, int], *, ahead: int = 0, unused: Iterable[Permit] = ()
    ) -> tuple[float, Sequence[Permit]]:
        """Count the first of `calls` against its limit: the most such calls in any 60 seconds.

        Returns 0 if it was counted, else the seconds to wait before the next attempt; and permits for those
        of the other calls, in their order, that are allowed as well. Each has to be made within `ahead`
        seconds, or its permit given back with a later request, among the `unused` ones of this counter.
        """

    async def lease(self, lease: str, seconds: float, holder: str = "") -> bool:
        """Take or renew a lease for `seconds`; return whether this process holds it.

        `holder` names a part of this process that does not share the lease with other parts.
        """

    async def release(self, lease: str, holder: str = "") -> None:
        """Release a lease that this process holds."""

    async def attend(self, group: str, seconds: float, note: Json = None) -> tuple[int, Sequence[Json]]:
        """Join a group, or stay in it, for `seconds`, with a note for the other members.

        Returns the position of this process, and the notes of all members in a stable order.
        """

    async def leave(self, group: str) -> None:
        """Leave a group."""

    async def agree(self, group: str, wish: int, *, in_use: bool) -> int | None:
        """Return the number that all members of a group use; call this regularly while in the group.

        A number stays while a member wishes it. After that the result is None until all members have stopped
        using it and called this without `in_use`; then the wish of the first caller is the new number.
        """

    async def find_note(self, name: str) -> Json | None:
        """Return what a process has kept under a name, or None."""

    async def keep_note(self, name: str, note: Json, seconds: int) -> None:
        """Keep a small note for all processes, for `seconds`."""

    async def get_cursor(self, *sources: str) -> float | None:
        """Return the time (Unix seconds) until which all events of the `sources` were taken.

        For several sources it is the earliest; None if one of them has no time yet.
        """

    async def set_cursor(self, source: str, until: float) -> None:
        """Store the time until which all events of a source were taken; an earlier time has no effect."""
