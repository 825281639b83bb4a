"""Installations of the app, with a copy in the memory of each process.

Records of the vault, by id: `T…` is an installation in one workspace, or `{"organisation": "E…",
"reached_at": …}` for a workspace that the app reaches through an installation of a whole organisation
(Enterprise Grid), `E…`, or `{"gone_at": …}` for a workspace whose data is still to be removed.

A call of Slack reads the copy. If it is older than `Timing.installation_max_age`, the numbers of the changes
are compared first, in one request for all workspaces, and only what another process has changed is read.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bot.chat import Json, StorageDown, Vault
from bot.slack.api import Identity

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Installation of the app in a workspace or in a whole organisation, whose `id` it has.

    With token rotation the token ends at `expires_at` (Unix seconds), and `refresh_token` gives the next one;
    else both are empty. It was first sent at `renewal_began_at`, and Slack refused it at `refused_at`: both
    are 0 if that did not happen. `scopes` were granted.
    """

    id: str
    name: str
    url: str
    bot_token: str
    bot_id: str
    bot_user_id: str
    bot_name: str = ""
    scopes: str = ""
    refresh_token: str = ""
    expires_at: float = 0.0
    installed_at: float = 0.0
    renewal_began_at: float = 0.0
    refused_at: float = 0.0

    def __repr__(self) -> str:
        """Return a text without secrets."""
        return f"Installation({self.id})"

    @property
    def is_of_organisation(self) -> bool:
        """Return whether this is the installation of a whole organisation."""
        return self.id.startswith("E")

    @property
    def is_lost(self) -> bool:
        """Return whether the token has ended for good: the app has to be installed again."""
        return bool(self.refused_at) and self.expires_at <= time.time()

    def identity(self, team: str) -> Identity:
        """Return the identity of the bot in a workspace."""
        return Identity(team, self.name, self.bot_user_id, self.bot_id, self.url, self.bot_name)


class Installations:
    """All installations. Methods raise `StorageDown`, except that `find` goes on with its copy."""

    def __init__(self, vault: Vault, max_age: float) -> None:
        self._vault = vault
        self._max_age = max_age
        self._records: dict[str, _Record] = {}
        self._number = 0  # of the last change that the copy has
        self._stale: set[str] | None = None  # what the copy lacks; None: it may lack anything
        self._compared_at = float("-inf")
        self._order = asyncio.Lock()

    async def find(self, team: str) -> Installation | None:
        """Return the installation that reaches a workspace, or None."""
        if time.monotonic() - self._compared_at > self._max_age:
            await self._compare()
        found = self._records[team] if team in self._records else await self._read(team)
        if isinstance(found, _Reached):
            id = found.organisation
            found = self._records[id] if id in self._records else await self._read(id)
        return found if isinstance(found, Installation) else None

    async def all(self) -> Mapping[str, Installation]:
        """Return the workspaces that the app reaches, as far as is known, each with its installation."""
        await self._complete()
        found: dict[str, Installation] = {}
        for id, record in self._records.items():
            reached = self._records.get(record.organisation) if isinstance(record, _Reached) else record
            if isinstance(reached, Installation) and not id.startswith("E"):
                found[id] = reached
        return found

    async def organisations(self) -> Sequence[str]:
        """Return the organisations that have installed the app."""
        await self._complete()
        found = self._records.items()
        return [id for id, record in found if isinstance(record, Installation) and id.startswith("E")]

    @property
    def refused(self) -> Sequence[Installation]:
        """Return the installations whose token cannot be renewed, as far as this process knows."""
        return [each for each in self._records.values() if isinstance(each, Installation) and each.refused_at]

    async def reached_at(self, team: str) -> float | None:
        """Return since when a workspace is reached through its organisation; None if it is not."""
        found = await self._read(team)
        return found.reached_at if isinstance(found, _Reached) else None

    async def gone(self) -> Sequence[str]:
        """Return the workspaces whose data is still to be removed."""
        await self._complete()
        return [id for id, record in self._records.items() if isinstance(record, _Gone)]

    async def is_gone(self, team: str) -> bool:
        """Return whether the data of a workspace is still to be removed, as it is stored now."""
        return isinstance(await self._read(team), _Gone)

    async def drop_gone(self, team: str) -> None:
        """Note that the data of a workspace is removed, unless the app was installed there again."""
        record = (await self._vault.read(team)).get(team, {})
        if _load(team, record) == _Gone():
            await self._vault.drop(team, record)
            self._records.pop(team, None)

    async def reload(self, id: str) -> Installation | None:
        """Return an installation as it is stored now."""
        found = await self._read(id)
        return found if isinstance(found, Installation) else None

    async def save(self, installation: Installation) -> None:
        """Store an installation in place of an earlier one."""
        await self._vault.write(installation.id, asdict(installation))
        self._records.pop(installation.id, None)

    async def renew(self, old: Installation, new: Installation) -> None:
        """Store what has become of a token, unless it was removed or the app installed again meanwhile."""
        record = (await self._vault.read(old.id)).get(old.id, {})
        if _load(old.id, record) == old:
            await self._vault.write(old.id, asdict(new), instead_of=record)
        self._records.pop(old.id, None)

    async def note_reached(self, team: str, organisation: str) -> None:
        """Store that a workspace is reached through the installation of its organisation.

        Not while data is removed that the bot had of it before.
        """
        if await self.find(team) or await self.is_gone(team):
            return
        if await self._read(organisation):
            await self._vault.write(team, {"organisation": organisation, "reached_at": time.time()})
            self._records.pop(team, None)

    async def remove(self, id: str) -> Sequence[str]:
        """Remove an installation; return the workspaces that it reached, which are `gone` from now on."""
        teams = [id]
        if id.startswith("E"):
            records = {each: _load(each, record) for each, record in (await self._vault.read()).items()}
            teams = [each for each, record in records.items() if record == _Reached(id)]
        for team in teams:
            await self._vault.write(team, {"gone_at": time.time()})
            self._records.pop(team, None)
        if id not in teams:  # last: after a crash this begins again
            await self._remove(id)
        return teams

    async def _remove(self, *ids: str) -> None:
        await self._vault.remove(*ids)
        for id in ids:
            self._records.pop(id, None)

    async def _compare(self) -> None:
        """Drop from the copy what has changed since it was read."""
        async with self._order:
            if time.monotonic() - self._compared_at <= self._max_age:
                return  # another caller has done it
            try:
                number, changed = await self._vault.changes(self._number)
            except StorageDown as error:
                log.info("installations not compared", extra={"error": str(error)})
            else:
                self._number = number
                for id in changed:
                    self._records.pop(id, None)
                if self._stale is not None:
                    self._stale.update(changed)
            self._compared_at = time.monotonic()

    async def _complete(self) -> None:
        """Read what the copy lacks."""
        if self._stale is None:
            self._number, _ = await self._vault.changes(0)
        else:
            await self._compare()
        async with self._order:
            stale = self._stale
            if stale is None or stale:
                read = await self._vault.read(*(stale or ()))
                self._records |= dict.fromkeys(stale or ())
                self._records |= {id: _load(id, record) for id, record in read.items()}
                self._stale = set()

    async def _read(self, id: str) -> "_Record":
        async with self._order:  # else a record that is dropped meanwhile could come back
            record = (await self._vault.read(id)).get(id) if id else None
            found = self._records[id] = None if record is None else _load(id, record)
            return found


@dataclass(frozen=True, slots=True)
class _Reached:
    """Workspace that is reached through the installation of its organisation."""

    organisation: str
    reached_at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class _Gone:
    """Workspace whose data is still to be removed."""


_Record = Installation | _Reached | _Gone | None


def _load(id: str, record: Mapping[str, Json]) -> _Record:
    """Return a record; None for one that a newer version has written in another way."""
    if isinstance(organisation := record.get("organisation"), str):
        reached_at = record.get("reached_at")  # not in records of earlier versions
        return _Reached(organisation, float(reached_at) if isinstance(reached_at, int | float) else 0.0)
    if "gone_at" in record:
        return _Gone()
    try:
        return Installation(**{name: record[name] for name in Installation.__slots__ if name in record})
    except TypeError:
        log.warning("installation unreadable", extra={"installation": id})
        return None
