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
    Json,
    Message,
    PersonalDataSource,
    StillBusy,
    StorageDown,
    Writer,
    harmless,
    platform_info,
)
from bot.chat.text import one_line
from bot.commands.commands import Caller
from bot.memory.accounts import Accounts, LinkRefused
from bot.memory.owners import Owners, date, digests, own_texts
from bot.memory.records import Record
from bot.memory.visibility import Account

log = logging.getLogger(__name__)

_SHOWN = 20
_EXCERPT = 150

_SUMMARY = (
    "I remember {kept} of yours. `/agent-memory show` tells you which ones and how to remove them; only you "
    "see that answer."
)
_SWITCHED_OFF = "Memory is switched off here: I remember nothing new."
_EXPORT_OR_FORGET = (
    "\n`/agent-memory export` gives you a copy of everything, `/agent-memory forget` removes it."
)
_FORGOTTEN = (
    "I have forgotten everything about you. Your messages in the chat itself are still there: delete them "
    "there if you want to."
)
_LINK_CODE = (
    "Write `/agent-memory link {code}` on the other platform within ten minutes. I will then treat both "
    "accounts as the same person, and find your private facts on both. Do not share this code: whoever uses "
    "it can read what I remember about you."
)
_LINKED = (
    "Linked with your account on {platform} (id {id}). If you did not create that code yourself, write "
    "`/agent-memory unlink` immediately."
)
_UNLINKED = "This account is no longer linked with others."
_NOT_LINKED = "This account is not linked with any other account."
_UNREACHABLE = "I cannot reach my memory at the moment. Please try again in a minute."


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Commands of `/agent-memory`; a `bot.commands.commands.PersonalMemory`. `is_on`: memory stores more."""

    belongings: Owners
    people: Accounts
    sources: Sequence[PersonalDataSource]
    """All stores of data about users, in the order of removal."""
    is_on: bool

    async def show(self, caller: Caller) -> str:
        """Return the numbers of facts and conversations, and the newest ones."""
        with _storage():
            accounts = await self.people.accounts(_account(caller))
            authors = digests(_writers(accounts))
            records = await self.belongings.records(authors)
            threads = await self.belongings.threads(authors)
        facts = [each for each in records if each.kind == "fact"]
        turns = [each for each in records if each.kind == "turn"]
        lines = [
            f"I remember {_count(len(facts), 'fact')} about you, {len(turns)} of your questions with the "
            f"answers, and your messages in {_count(len(threads), 'thread')}."
        ]
        if not self.is_on:
            lines.append(_SWITCHED_OFF)
        if len(accounts) > 1:
            linked = ", ".join(sorted(platform_info(each.platform).title for each in accounts))
            lines.append(f"Your accounts on {linked} are linked.")
        for title, found in (("Facts", facts), ("Questions", turns)):
            if found:
                lines += [f"\n**{title}**", *(_line(each, authors) for each in found[:_SHOWN])]
            if len(found) > _SHOWN:
                lines.append(f"- … and {len(found) - _SHOWN} older ones: see `/agent-memory export`.")
        lines.append(_EXPORT_OR_FORGET)
        return "\n".join(lines)

    async def summary(self, message: Message) -> str:
        """Return the number of records about a user, in a sentence that others can read."""
        with _storage():
            accounts = await self.people.accounts(Account.of(message.author, message.thread.space))
            records = await self.belongings.records(digests(_writers(accounts)))
        kept = _count(len(records), "fact or question", "facts and questions")
        return _SUMMARY.format(kept=kept)

    async def export(self, caller: Caller) -> bytes:
        """Return all of it, as a JSON document."""
        with _storage():
            accounts = await self.people.accounts(_account(caller))
            document: dict[str, Json] = {
                "exported_at": date(time.time()),
                "accounts": [asdict(each) for each in sorted(accounts, key=str)],
            }
            for source in self.sources:
                document |= await source.export(_writers(accounts))
            document.setdefault("usage", {})  # without a model nothing is counted
        return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace")

    async def forget(self, caller: Caller, *, confirmed: bool) -> str:
        """Remove everything about a user; without a confirmation only describe it."""
        if not confirmed:
            return _CONFIRM_FORGET
        account = _account(caller)
        with _storage():
            accounts = await self.people.accounts(account)
            busy = await self._erase(accounts)
            if not busy:
                for each in accounts:
                    await self.people.forget(each)
        log.info("personal data erased", extra={"accounts": len(accounts), "busy_threads": busy})
        if busy:
            return (
                f"I have forgotten almost everything about you, but I am still answering in "
                f"{_count(busy, 'thread')} with messages of yours. Please repeat this in a few minutes."
            )
        return _FORGOTTEN

    async def _erase(self, accounts: frozenset[Account]) -> int:
        """Erase all data that no turn uses; return the number of threads with such turns."""
        busy = 0
        for source in self.sources:
            try:
                await source.erase(_writers(accounts))
            except StillBusy as error:
                log.info("personal data in use", extra={"source": source.name, "threads": error.threads})
                busy += error.threads
        return busy

    async def link(self, caller: Caller, code: str) -> str:
        """Create a code, or link this account with the account that has created `code`."""
        account = _account(caller)
        with _storage():
            if not code:
                made = await self.people.offer(account)
                return _LINK_CODE.format(code=made)
            try:
                other = await self.people.link(account, code)
            except LinkRefused as refusal:
                return str(refusal)
        return _LINKED.format(platform=platform_info(other.platform).title, id=other.user)

    async def unlink(self, caller: Caller) -> str:
        """Remove the links of this account."""
        with _storage():
            others = await self.people.unlink(_account(caller))
        return _UNLINKED if others else _NOT_LINKED


_CONFIRM_FORGET = """\
This removes everything that I remember about you, for all of your linked accounts:
- the facts that you asked me to save, including those for a channel or the workspace;
- your questions and the answers to them, from every conversation; I forget threads in which only you wrote \
completely, and in the others also my summary;
- your messages that are not answered yet, and your changes that wait for an approval;
- your usage of the model; if there are budgets, today's usage is kept for 35 days;
- the links between your accounts.

Changes in the database stay in its ledger, with the names of those who asked for and approved them. I keep \
what others wrote and the answers to it, even if they mention you. Messages in the chat itself stay there.

This cannot be undone. To get a copy first, use `/agent-memory export`.
To continue, write `/agent-memory forget everything`."""


@contextmanager
def _storage() -> Iterator[None]:
    try:
        yield
    except (RedisError, RedisVLError, OSError) as error:
        raise StorageDown(_UNREACHABLE) from error


def _account(caller: Caller) -> Account:
    return Account.of(caller.author, caller.space)


def _writers(accounts: frozenset[Account]) -> Sequence[Writer]:
    return [Writer(each.author, each.space) for each in accounts]


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _line(record: Record, authors: frozenset[str]) -> str:
    own = [record.question] if record.kind == "fact" else own_texts(record, authors)
    short = harmless(one_line(" ".join(own), _EXCERPT))
    return f"- {date(record.at)}{f', {record.scope}' if record.scope else ''}: {short}"
