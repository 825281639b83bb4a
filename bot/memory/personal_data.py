"""What a person may see, take along and have forgotten of all that is kept about them."""

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
from bot.memory.accounts import LinkRefused, People
from bot.memory.owners import Belongings, date, digests, own_texts
from bot.memory.records import Record
from bot.memory.visibility import Account

log = logging.getLogger(__name__)

_SHOWN = 20
_EXCERPT = 150


@dataclass(frozen=True, slots=True)
class Personal:
    """Implements `bot.commands.commands.PersonalMemory`; `is_on` is whether anything new is kept."""

    belongings: Belongings
    people: People
    sources: Sequence[PersonalDataSource]
    """All data about users, in the order in which it is erased."""
    is_on: bool

    async def show(self, caller: Caller) -> str:
        """The newest facts and conversations, with how many there are."""
        with _storage():
            accounts = await self.people.accounts(_account(caller))
            authors = digests(_writers(accounts))
            records = await self.belongings.records(authors)
            threads = await self.belongings.threads(authors)
        facts = [each for each in records if each.kind == "fact"]
        turns = [each for each in records if each.kind == "turn"]
        lines = [
            f"About you I keep {_count(len(facts), 'fact')}, {_count(len(turns), 'question')} with the "
            f"answers, and the messages of {_count(len(threads), 'thread')}."
        ]
        if not self.is_on:
            lines.append("Memory is switched off here: nothing new is kept.")
        if len(accounts) > 1:
            linked = ", ".join(sorted(platform_info(each.platform).title for each in accounts))
            lines.append(f"Your accounts on {linked} are linked.")
        for title, found in (("Facts", facts), ("Questions", turns)):
            if found:
                lines += [f"\n**{title}**", *(_line(each, authors) for each in found[:_SHOWN])]
            if len(found) > _SHOWN:
                lines.append(f"- … and {len(found) - _SHOWN} older; `/agent-memory export` has all.")
        lines.append("\n`/agent-memory export` gives you all of it, `/agent-memory forget` removes it.")
        return "\n".join(lines)

    async def summary(self, message: Message) -> str:
        """The same in a sentence that others may read."""
        with _storage():
            accounts = await self.people.accounts(Account.of(message.author, message.thread.space))
            records = await self.belongings.records(digests(_writers(accounts)))
        kept = _count(len(records), "fact or question", "facts and questions")
        return (
            f"About the one who asked I keep {kept}. Which ones, and how to remove them, tells "
            "`/agent-memory show`, to that person alone."
        )

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
        return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace")

    async def forget(self, caller: Caller, *, confirmed: bool) -> str:
        """Remove everything about a person; without a confirmation only say what that would be."""
        if not confirmed:
            return _WHAT_GOES
        account = _account(caller)
        with _storage():
            accounts = await self.people.accounts(account)
            busy = await self._erase(accounts)
            if not busy:
                for each in accounts:
                    await self.people.forget(each)
        log.info("a person was forgotten", extra={"accounts": len(accounts), "busy_threads": busy})
        if busy:
            return (
                f"Almost everything is forgotten, but {_count(busy, 'thread')} with words of yours "
                f"{'is' if busy == 1 else 'are'} being answered right now. Repeat this in a few minutes."
            )
        return "Everything about you is forgotten. What is in the chat itself stays there: delete it there."

    async def _erase(self, accounts: frozenset[Account]) -> int:
        """Erase all that can be erased now; returns the number of threads that are being answered."""
        busy = 0
        for source in self.sources:
            try:
                await source.erase(_writers(accounts))
            except StillBusy as error:
                log.info("personal data is in use", extra={"source": source.name, "threads": error.threads})
                busy += error.threads
        return busy

    async def link(self, caller: Caller, code: str) -> str:
        """Without a code make one; with the code of the other side make one person of both."""
        account = _account(caller)
        with _storage():
            if not code:
                made = await self.people.offer(account)
                return (
                    f"Write `/agent-memory link {made}` on the other platform within ten minutes: then both "
                    "accounts are one person to me, and what is private to one is found on the other. Give "
                    "the code to nobody: whoever writes it reads what I keep about you."
                )
            try:
                other = await self.people.link(account, code)
            except LinkRefused as refusal:
                return str(refusal)
        return (
            f"Linked with your account on {platform_info(other.platform).title} (id {other.user}). If "
            "you did not make that code yourself, write `/agent-memory unlink` at once."
        )

    async def unlink(self, caller: Caller) -> str:
        """Make a person of its own of this account again."""
        with _storage():
            others = await self.people.unlink(_account(caller))
        return "This account is on its own again." if others else "This account is not linked with another."


_WHAT_GOES = """\
This removes all that I keep about you, on all accounts that you have linked:
- the facts that you had me save, those for a channel or the workspace included;
- your questions and the answers to them, from every conversation; threads where only you wrote go entirely, \
and the summaries of the others too;
- what you have asked and is not answered yet, and the changes that wait for somebody's approval;
- how much of the model you have used; where there is a budget, today's count stays until it is 35 days old;
- the links between your accounts.

What was changed in the database stays in its ledger, with who asked and who approved. What others wrote \
stays, and so do the answers to it, even where they tell of you. What is in the chat itself stays there. It \
cannot be undone; `/agent-memory export` first gives you a copy.

To go on, write `/agent-memory forget everything`."""


@contextmanager
def _storage() -> Iterator[None]:
    try:
        yield
    except (RedisError, RedisVLError, OSError) as error:
        raise StorageDown("The memory cannot be reached at the moment. Try again in a minute.") from error


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
