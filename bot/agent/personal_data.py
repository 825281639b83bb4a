"""Personal data in the threads' memory: exported, or erased while no turn of the thread runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.agent.agent import Agent
from bot.chat import Author, ForgottenThreads, Json, Mailboxes, Space, StillBusy, ThreadId
from bot.memory import Owners, digests

PATIENCE = 30.0
"""Seconds to wait for the running turn of a thread before its data is erased."""

_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class ThreadData:
    """Messages of users in the threads' memory; a `bot.chat.PersonalDataSource`."""

    name = "threads"

    agent: Agent
    owners: Owners
    mailboxes: Mailboxes
    shown: ForgottenThreads

    async def export(self, user: Sequence[Author]) -> Mapping[str, Json]:
        """Return a user's messages, by thread."""
        authors = digests(user)
        said = {
            each.memory: await self.agent.texts_by(each.memory, authors)
            for each in await self.owners.threads(authors)
        }
        return {"threads": [{"thread": name, "your_messages": texts} for name, texts in sorted(said.items())]}

    async def erase(self, user: Sequence[Author]) -> None:
        """Remove a user's messages, including those that wait for an answer.

        Messages that arrive meanwhile are removed in another round. Raises `StillBusy` for threads in use.
        """
        authors = digests(user)
        busy: set[str] = set()
        for _ in range(_ROUNDS):
            waiting = sum([await self.mailboxes.withdraw(each) for each in user])
            threads = [each for each in await self.owners.threads(authors) if each.inbox not in busy]
            if not waiting and not threads:
                break
            for thread in threads:
                try:
                    async with self.mailboxes.pause(thread.inbox, PATIENCE):
                        await self.agent.forget(thread.memory, authors, wholly=thread.is_alone)
                        await self.owners.forget_thread(thread, authors)
                except StillBusy:
                    busy.add(thread.inbox)
                else:
                    if thread.is_alone:
                        for id in await self.mailboxes.leave(thread.inbox):
                            self.shown.forget_thread(id)
        if busy:
            raise StillBusy(len(busy))

    async def forget_thread(self, thread: ThreadId) -> None:
        """Remove the memory of a thread, and what was filed of it. Raises `StillBusy` while a turn runs."""
        name = str(thread)
        async with self.mailboxes.pause(name, 0):
            await self.agent.forget(name, frozenset(), wholly=True)
            await self.owners.forget_conversation(name)
        await self.mailboxes.leave(name)

    async def erase_space(self, space: Space) -> None:
        """Remove the memory of all threads of a space. Raises `StillBusy` for threads in use."""
        await self.mailboxes.withdraw(space)
        busy = 0
        for thread in await self.owners.threads_in(space):
            try:
                async with self.mailboxes.pause(thread.inbox, PATIENCE):
                    await self.agent.forget(thread.memory, frozenset(), wholly=True)
                    await self.owners.forget_authors(thread)
            except StillBusy:
                busy += 1
        if busy:
            raise StillBusy(busy)
