"""One answer in one place: shown as it grows, finished after a restart."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.chat import (
    Approval,
    Files,
    InboxLookup,
    Notice,
    Part,
    Receipt,
    ThreadId,
    Turn,
    Undeliverable,
    Unreachable,
)
from bot.discord import destination as places
from bot.discord.api import Sender
from bot.discord.approvals import Asking
from bot.discord.destination import Place
from bot.discord.errors import Failing, Refused
from bot.discord.fallback import Elsewhere
from bot.discord.messages import Display
from bot.discord.pace import Pace
from bot.discord.patience import Patience
from bot.discord.renderer import Transcript
from bot.discord.request_guard import Hold
from bot.discord.status import Typing
from bot.discord.uploads import Uploads

log = logging.getLogger(__name__)

_NOT_ASKED = (
    "I need somebody's approval for this, but Discord does not take the message that would show it. "
    "Nothing was done: please ask again later."
)


class DiscordThread:
    """A `Thread` of chat.py: a Discord thread, a direct message or a chain of replies."""

    def __init__(
        self,
        id: ThreadId,
        sender: Sender,
        pace: Pace,
        lookup: InboxLookup,
        files: Files,
        patience: float,
    ) -> None:
        self.id = id
        self._patience = patience
        self._files = files
        self._sender = sender
        self._lookup = lookup
        self._pace = pace

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """See `bot.chat.Thread`. The model is read at its own speed, however slowly Discord takes edits.

        Where nothing can be shown, the author is told so elsewhere before `Undeliverable` is raised.
        """
        if receipt.state.get("finished"):
            return
        patience = Patience(receipt, self._patience)
        try:
            await self._reply(parts, receipt, patience)
        except Undeliverable as error:
            is_told = await Elsewhere(self._sender, receipt).tell(error)
            if isinstance(error, Failing) and not is_told:  # it fails at everything: that ends some day
                raise Unreachable(str(error)) from error
            raise

    async def _reply(self, parts: AsyncIterator[Part], receipt: Receipt, patience: Patience) -> None:
        answer = _Growing()
        async with _tasks() as tasks:
            tasks.create_task(answer.read(parts))
            place = await self._open(receipt, patience)
            typing = Typing(tasks, self._sender, place.channel, receipt.hold)
            beside = _Beside(
                Asking(self._sender, place, receipt, self._lookup),
                Uploads(self._sender, place, receipt, patience, self._files),
                patience,
            )
            await self._follow(answer, Display(self._sender, place, receipt, patience), typing, beside)

    async def _open(self, receipt: Receipt, patience: Patience) -> Place:
        """Where the answer goes, the same on every attempt."""
        if "channel" in receipt.state:
            reply_to = receipt.state["reply_to"]
            return Place(int(receipt.state["channel"]), int(reply_to) if reply_to else None)
        place = places.settled(receipt.turn) or await self._start_thread(receipt.turn, receipt.hold, patience)
        await receipt.save(
            channel=str(place.channel), reply_to=str(place.reply_to) if place.reply_to else None
        )
        return place

    async def _start_thread(self, turn: Turn, hold: Hold, patience: Patience) -> Place:
        question = places.opening(turn)
        assert question is not None
        channel, message = int(question.place["channel"]), int(question.place["message"])
        try:
            name = places.thread_name(question.text)
            async with patience.part("thread"):
                return Place(await self._sender.start_thread(channel, message, name, hold=hold))
        except Undeliverable as error:  # no permission, a channel without threads, too many of them, ...
            log.info("no thread here, answering in the channel", extra={"reason": str(error)})
            return places.in_channel(turn)

    async def _follow(self, answer: "_Growing", display: Display, typing: Typing, beside: "_Beside") -> None:
        if not await display.resume():
            typing.start()
        shown_before = display.shown
        while True:
            await answer.news()
            while answer.decided:
                await beside.settle(answer.decided.pop())
            if display.begun:
                await self._pace.turn(display.channel)
            if answer.finished:
                break
            texts = answer.transcript.messages()
            if sum(map(len, texts)) >= shown_before:
                await _show(texts, display, typing, working=answer.transcript.working)
            await beside.uploads.show(answer.transcript)
        await typing.stop()
        texts = answer.transcript.messages()
        await display.show(texts)
        await beside.uploads.show(answer.transcript)
        for approval in answer.asked:
            if words := await beside.show(approval):
                answer.transcript.add(Notice(words))
        await display.end(answer.transcript.messages())


async def _show(texts: list[str], display: Display, typing: Typing, *, working: bool) -> None:
    """Show what there is; the bot types on only while a tool is at work, since edits do not end typing."""
    if texts and not working:
        await typing.stop()
    await display.show(texts)
    if working:
        typing.start()


@dataclass(frozen=True, slots=True)
class _Beside:
    """What is shown in messages beside the text."""

    asking: Asking
    uploads: Uploads
    patience: Patience

    async def show(self, approval: Approval) -> str:
        """Show a request; the words for why it cannot be shown, or nothing."""
        try:
            async with self.patience.part(f"request {approval.id}"):
                await self.asking.show(approval)
        except Refused as error:
            log.warning("request not shown", extra={"request": approval.id, "reason": str(error)})
            return _NOT_ASKED
        return ""

    async def settle(self, approval: Approval) -> None:
        """Show a request as decided; that it cannot be shown does not undo it."""
        try:
            async with self.patience.part(f"request {approval.id}"):
                await self.asking.settle(approval)
        except Refused as error:
            log.warning("request not shown as decided", extra={"request": approval.id, "reason": str(error)})


class _Growing:
    """An answer that is being read."""

    def __init__(self) -> None:
        self.transcript = Transcript()
        self.asked: list[Approval] = []
        self.decided: list[Approval] = []
        self.finished = False
        self._news = asyncio.Event()

    async def read(self, parts: AsyncIterator[Part]) -> None:
        async for part in parts:
            if isinstance(part, Approval):
                (self.asked if part.state == "asked" else self.decided).append(part)
            else:
                self.transcript.add(part)
            self._news.set()
        self.transcript.finish()
        self.finished = True
        self._news.set()

    async def news(self) -> None:
        """Wait until there is more than at the last call."""
        await self._news.wait()
        self._news.clear()


@asynccontextmanager
async def _tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises its first failure as it is: callers catch chat.py's errors, not groups."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__
