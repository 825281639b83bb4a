"""What a person may see, take along and have forgotten of all that is kept about them."""

import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from redis.exceptions import RedisError
from redisvl.exceptions import RedisVLError

from bot.agent import Agent
from bot.chat import Json, Message, StorageDown, harmless
from bot.chat.text import one_line
from bot.commands.commands import Caller
from bot.inbox import Erasure, StillBusy, Writer
from bot.memory import (
    Account,
    Belongings,
    LinkRefused,
    People,
    Record,
)

log = logging.getLogger(__name__)

Forget = Callable[[Sequence[str]], Awaitable[None]]
"""Removes what is kept about authors, as in `Message`. Raises `StorageDown`."""

Tell = Callable[[Sequence[str]], Awaitable[Json]]
"""What is kept about authors, as JSON. Raises `StorageDown`."""

PATIENCE = 30.0
"""Seconds that forgetting waits for the turn of a thread."""

_ROUNDS = 3
_SHOWN = 20
_EXCERPT = 150

_NAMES = {"slack": "Slack", "discord": "Discord", "http": "HTTP"}


@dataclass(frozen=True, slots=True)
class Personal:
    """Implements `bot.commands.commands.PersonalMemory`; `is_on` is whether anything new is kept."""

    belongings: Belongings
    people: People
    erasure: Erasure
    agent: Agent
    is_on: bool
    elsewhere: Sequence[Forget] = ()
    """Removes what else is kept about people."""
    told: Mapping[str, Tell] = field(default_factory=dict)
    """What that is, by the name that it has in the export."""

    async def show(self, caller: Caller) -> str:
        """The newest facts and conversations, with how many there are."""
        with _storage():
            accounts = await self.people.accounts(_account(caller))
            authors = _digests(accounts)
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
            linked = ", ".join(sorted(_NAMES.get(each.platform, each.platform) for each in accounts))
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
            records = await self.belongings.records(_digests(accounts))
        kept = _count(len(records), "fact or question", "facts and questions")
        return (
            f"About the one who asked I keep {kept}. Which ones, and how to remove them, tells "
            "`/agent-memory show`, to that person alone."
        )

    async def export(self, caller: Caller) -> bytes:
        """All of it, as a JSON document."""
        with _storage():
            accounts = await self.people.accounts(_account(caller))
            authors = _digests(accounts)
            records = await self.belongings.records(authors)
            threads = {
                each.memory: await self.agent.said_by(each.memory, authors)
                for each in await self.belongings.threads(authors)
            }
        document: dict[str, Json] = {
            "exported_at": _date(time.time()),
            "accounts": [asdict(each) for each in sorted(accounts, key=str)],
            "facts": [_fact(each) for each in records if each.kind == "fact"],
            "conversations": [_conversation(each, authors) for each in records if each.kind == "turn"],
            "threads": [{"thread": name, "your_messages": said} for name, said in sorted(threads.items())],
        }
        for name, tell in self.told.items():
            document[name] = await tell([each.author for each in accounts])
        return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace")

    async def forget(self, caller: Caller, *, confirmed: bool) -> str:
        """Remove everything about a person; without a confirmation only say what that would be."""
        if not confirmed:
            return _WHAT_GOES
        account = _account(caller)
        with _storage():
            accounts = await self.people.accounts(account)
            busy = await self._forget(accounts)
            if not busy:
                for each in accounts:
                    await self.people.forget(each)
        log.info("a person was forgotten", extra={"accounts": len(accounts), "busy_threads": len(busy)})
        if busy:
            return (
                f"Almost everything is forgotten, but {_count(len(busy), 'thread')} with words of yours "
                f"{'is' if len(busy) == 1 else 'are'} being answered right now. Repeat this in a few minutes."
            )
        return "Everything about you is forgotten. What is in the chat itself stays there: delete it there."

    async def _forget(self, accounts: frozenset[Account]) -> set[str]:
        """Returns the threads that could not be held. What comes in meanwhile is removed in another round."""
        authors = _digests(accounts)
        busy: set[str] = set()
        for _ in range(_ROUNDS):
            waiting = sum([await self.erasure.withdraw(_writer(each)) for each in accounts])
            threads = [each for each in await self.belongings.threads(authors) if each.inbox not in busy]
            if not waiting and not threads and not await self.belongings.records(authors):
                break
            for thread in threads:
                try:
                    async with self.erasure.held(thread.inbox, PATIENCE):
                        await self.agent.forget(thread.memory, authors, wholly=thread.is_alone)
                        await self.belongings.forget_thread(thread, authors)
                except StillBusy:
                    busy.add(thread.inbox)
                else:
                    if thread.is_alone:
                        await self.erasure.leave(thread.inbox)
            await self.belongings.forget_records(authors)
        for each in accounts:
            await self.erasure.erase(_writer(each))
        for forget in self.elsewhere:
            await forget([each.author for each in accounts])
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
            f"Linked with your account on {_NAMES.get(other.platform, other.platform)} (id {other.user}). If "
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


def _writer(account: Account) -> Writer:
    return Writer(account.author, account.space)


def _digests(accounts: frozenset[Account]) -> frozenset[str]:
    return frozenset(each.digest for each in accounts)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _own(record: Record, authors: frozenset[str]) -> Sequence[str]:
    return [each.text for each in record.said if each.by in authors]


def _line(record: Record, authors: frozenset[str]) -> str:
    own = [record.question] if record.kind == "fact" else _own(record, authors)
    short = harmless(one_line(" ".join(own), _EXCERPT))
    return f"- {_date(record.at)}{f', {record.scope}' if record.scope else ''}: {short}"


def _fact(record: Record) -> dict[str, Json]:
    saved = {"text": record.question, "scope": record.scope}
    return {**saved, "saved_at": _date(record.at), "source": record.source}


def _conversation(record: Record, authors: frozenset[str]) -> dict[str, Json]:
    asked = {"asked_at": _date(record.at), "source": record.source, "you_wrote": list(_own(record, authors))}
    return {**asked, "answer": record.answer}


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
