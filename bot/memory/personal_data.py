"""Personal data of a user: summary, export, removal, and linked accounts, as commands."""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from redis.exceptions import RedisError
from redisvl.exceptions import RedisVLError

from bot.chat import (
    Author,
    Json,
    Message,
    Names,
    PersonalDataSource,
    Space,
    SpaceData,
    StillBusy,
    StorageDown,
    harmless,
    platform_info,
)
from bot.chat.text import one_line
from bot.commands.memory import FACTS_OF_PAGE, Caller, KnownFact, KnownThread, MemoryOverview
from bot.memory import texts
from bot.memory.accounts import AccountLinks, LinkRefused
from bot.memory.owners import FactOfOthers, Owners, date, digests, own_texts
from bot.memory.records import MAX_FACT_CHARS, MemoryRecord
from bot.memory.visibility import Account

log = logging.getLogger(__name__)

_SHOWN = 20
_LOOKED_AT = 100
"""Newest questions among which the newest threads are looked for."""

_EXCERPT = 150
_LISTED = 40
_FACT_EXCERPT = 300
_MOST_NAME = 60


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Commands of `/agent-memory`; a `bot.commands.commands.PersonalMemory`. `is_on`: memory stores more."""

    owners: Owners
    links: AccountLinks
    sources: Sequence[PersonalDataSource]
    """All stores of data about users, in the order of removal."""
    names: Names
    is_on: bool

    async def show(self, caller: Caller) -> str:
        """Return the numbers of facts and conversations, and the newest ones."""
        with _storage_errors():
            accounts = await self.links.accounts(_account(caller))
            authors = digests(_authors(accounts))
            records = await self.owners.records(authors)
            threads = await self.owners.threads(authors)
        facts = [each for each in records if each.kind == "fact"]
        turns = [each for each in records if each.kind == "turn"]
        lines = [texts.overview(len(facts), len(turns), len(threads))]
        if not self.is_on:
            lines.append(texts.SWITCHED_OFF)
        if len(accounts) > 1:
            titles = sorted(platform_info(each.platform).title for each in accounts)
            lines.append(texts.linked_accounts(titles))
        for title, found in ((texts.FACTS, facts), (texts.QUESTIONS, turns)):
            if found:
                lines += [f"\n**{title}**", *(_line(each, authors) for each in found[:_SHOWN])]
            if len(found) > _SHOWN:
                lines.append(texts.more_records(len(found) - _SHOWN))
        lines.append(texts.EXPORT_OR_FORGET)
        return "\n".join(lines)

    async def overview(self, caller: Caller, first: int = 0) -> MemoryOverview:
        """Return the numbers of facts and questions, with a page of the facts and the newest threads."""
        with _storage_errors():
            authors = await self._digests(caller)
            facts, page = await self._newest(authors, "fact", FACTS_OF_PAGE, first)
            if first and not page:
                first = max(facts - 1, 0) // FACTS_OF_PAGE * FACTS_OF_PAGE
                facts, page = await self._newest(authors, "fact", FACTS_OF_PAGE, first)
            turns, newest_turns = await self._newest(authors, "turn", _LOOKED_AT)
        newest = {each.source: each for each in reversed(newest_turns)}  # the newest turn of each thread
        threads = sorted(newest.values(), key=lambda each: -each.at)
        return MemoryOverview(
            facts,
            turns,
            [KnownFact(each.short_id, _shown(each, _EXCERPT), _about(each)) for each in page],
            [_thread(each, authors) for each in threads],
            self.is_on,
            first,
        )

    async def _newest(
        self, authors: frozenset[str], kind: str, limit: int, first: int = 0
    ) -> tuple[int, Sequence[MemoryRecord]]:
        """Return the number of records of a kind, and the newest ones after the `first`."""
        if self.is_on:
            return await self.owners.newest(authors, kind, limit, first)
        # without a memory, Redis need not have a search
        found = [each for each in await self.owners.records(authors) if each.kind == kind]
        return len(found), found[first : first + limit]

    async def list_facts(self, caller: Caller, words: str) -> str:
        """Return the newest facts that contain `words`, each with its id."""
        with _storage_errors():
            facts = await self.owners.facts(await self._digests(caller))
        found = [each for each in facts if words.casefold() in each.question.casefold()]
        if not found:
            return texts.NO_SUCH_WORDS if facts else texts.NO_FACTS
        lines = [texts.facts(len(found))]
        lines += [
            f"- `{each.short_id}` {_about(each)}: {_shown(each, _FACT_EXCERPT)}" for each in found[:_LISTED]
        ]
        if len(found) > _LISTED:
            lines.append(texts.more_facts(len(found) - _LISTED))
        return "\n".join([*lines, texts.CORRECT_OR_FORGET])

    async def correct_fact(self, caller: Caller, id: str, text: str) -> str:
        """Replace the text of one fact."""
        new = one_line(text)
        if not new or len(new) > MAX_FACT_CHARS:
            return texts.no_new_text(MAX_FACT_CHARS)
        if not self.is_on:
            return texts.SWITCHED_OFF
        with _storage_errors():
            authors = await self._digests(caller)
            found = await self._fact(authors, id)
            try:
                corrected = found and await self.owners.correct(found, new, authors)
            except FactOfOthers:
                return texts.known_from_others(id.strip("`").lower())
        if not corrected:
            return texts.NO_FACT
        log.info("fact corrected", extra={"scope": corrected.scope})
        return texts.corrected(_shown(corrected, _FACT_EXCERPT), corrected.short_id)

    async def forget_fact(self, caller: Caller, id: str) -> str:
        """Remove one fact."""
        with _storage_errors():
            found = await self._fact(await self._digests(caller), id)
            is_removed = found is not None and await self.owners.forget_fact(found)
        if found is None or not is_removed:
            return texts.NO_FACT
        log.info("fact forgotten", extra={"scope": found.scope})
        return texts.forgotten(_shown(found, _FACT_EXCERPT))

    async def _digests(self, caller: Caller) -> frozenset[str]:
        return digests(_authors(await self.links.accounts(_account(caller))))

    async def _fact(self, authors: frozenset[str], id: str) -> MemoryRecord | None:
        """Return the fact of these authors with this short id; no fact of others is looked at."""
        wanted = id.strip("`").lower()
        return next((each for each in await self.owners.facts(authors) if each.short_id == wanted), None)

    async def summary(self, message: Message) -> str:
        """Return the number of records about a user, in a sentence that others can read."""
        with _storage_errors():
            accounts = await self.links.accounts(Account.of(message.author, message.thread.space))
            records = await self.owners.records(digests(_authors(accounts)))
        return texts.summary(len(records))

    async def export(self, caller: Caller) -> bytes:
        """Return all of it, as a JSON document."""
        with _storage_errors():
            accounts = await self.links.accounts(_account(caller))
            document: dict[str, Json] = {
                "exported_at": date(time.time()),
                "accounts": [asdict(each) for each in sorted(accounts, key=str)],
            }
            for source in self.sources:
                document |= await source.export(_authors(accounts))
            document.setdefault("usage", {})  # without a model nothing is counted
        return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace")

    async def forget(self, caller: Caller, *, is_confirmed: bool) -> str:
        """Remove everything about a user; without a confirmation only describe it."""
        if not is_confirmed:
            return texts.CONFIRM_FORGET
        account = _account(caller)
        with _storage_errors():
            accounts = await self.links.accounts(account)
            busy = await self._erase(accounts)
            if not busy:
                for each in accounts:
                    await self.links.forget(each)
        log.info("personal data erased", extra={"accounts": len(accounts), "busy_threads": busy})
        return texts.almost_forgotten(busy) if busy else texts.FORGOTTEN

    async def _erase(self, accounts: frozenset[Account]) -> int:
        """Erase all data that no turn uses; return the number of threads with such turns."""
        busy = 0
        for source in self.sources:
            try:
                await source.erase(_authors(accounts))
            except StillBusy as error:
                log.info("personal data in use", extra={"source": source.name, "threads": error.threads})
                busy += error.threads
        return busy

    async def link(self, caller: Caller, code: str) -> str:
        """Create a code, or link this account with the account that has created `code`."""
        account = _account(caller)
        with _storage_errors():
            if not code:
                return texts.link_code(await self.links.offer(account))
            try:
                other = await self.links.link(account, code)
            except LinkRefused as refusal:
                return str(refusal)
        name = one_line(harmless(await self.names.name_of("user", other.author)), _MOST_NAME)
        return texts.linked(platform_info(other.platform).title, name)

    async def unlink(self, caller: Caller) -> str:
        """Remove the links of this account."""
        with _storage_errors():
            others = await self.links.unlink(_account(caller))
        return texts.UNLINKED if others else texts.NOT_LINKED


@dataclass(frozen=True, slots=True)
class SpaceErasure:
    """Removal of the data of a space that the bot has left; `parts` in the order of removal."""

    parts: Sequence[SpaceData]

    async def erase_space(self, space: Space) -> None:
        """Remove the data of a space. Raises `StorageDown`, and `StillBusy` once the rest is removed."""
        busy = 0
        for part in self.parts:
            try:
                with _storage_errors():
                    await part.erase_space(space)
            except StillBusy as error:
                busy += error.threads
        if busy:
            raise StillBusy(busy)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (RedisError, RedisVLError, OSError) as error:
        raise StorageDown(f"the long-term memory cannot be reached: {error}") from error


def _account(caller: Caller) -> Account:
    return Account.of(caller.author, caller.space)


def _authors(accounts: frozenset[Account]) -> Sequence[Author]:
    return [Author(each.author, each.space) for each in accounts]


def _line(record: MemoryRecord, authors: frozenset[str]) -> str:
    if record.kind == "fact":
        return f"- {_about(record)}: {_shown(record, _EXCERPT)}"
    return f"- {date(record.at)}: {_question(record, authors)}"


def _about(fact: MemoryRecord) -> str:
    return f"{date(fact.at)}{f', {fact.scope}' if fact.scope else ''}"


def _question(turn: MemoryRecord, authors: frozenset[str]) -> str:
    """Return the words of these authors in a turn; nobody else's."""
    return harmless(one_line(" ".join(own_texts(turn, authors)), _EXCERPT))


def _thread(turn: MemoryRecord, authors: frozenset[str]) -> KnownThread:
    return KnownThread(turn.source, _question(turn, authors), date(turn.at))


def _shown(fact: MemoryRecord, chars: int) -> str:
    return harmless(one_line(fact.question, chars))
