"""One answer in one place: shown as it grows, finished after a restart."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.chat import Approval, Files, Part, Receipt, Shared, ThreadId, Turn, Undeliverable
from bot.discord import place as places
from bot.discord.asking import Asking
from bot.discord.display import Display
from bot.discord.exchange import Hold
from bot.discord.pace import Pace
from bot.discord.place import Place
from bot.discord.sender import Sender
from bot.discord.transcript import Transcript
from bot.discord.typing import Typing
from bot.discord.uploads import Uploads

log = logging.getLogger(__name__)


class DiscordThread:
    """A `Thread` of chat.py: a Discord thread, a direct message or a chain of replies."""

    def __init__(self, id: ThreadId, sender: Sender, pace: Pace, shared: Shared, files: Files) -> None:
        self.id = id
        self._files = files
        self._sender = sender
        self._shared = shared
        self._pace = pace

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """See `bot.chat.Thread`. The model is read at its own speed, however slowly Discord takes edits."""
        if receipt.state.get("finished"):
            return
        answer = _Growing()
        async with _tasks() as tasks:
            tasks.create_task(answer.read(parts))
            place = await self._open(receipt)
            typing = Typing(tasks, self._sender, place.channel, receipt.hold)
            beside = _Beside(
                Asking(self._sender, place, receipt, self._shared),
                Uploads(self._sender, place, receipt, self._files),
            )
            await self._follow(answer, Display(self._sender, place, receipt), typing, beside)

    async def _open(self, receipt: Receipt) -> Place:
        """Where the answer goes, the same on every attempt."""
        if "channel" in receipt.state:
            reply_to = receipt.state["reply_to"]
            return Place(int(receipt.state["channel"]), int(reply_to) if reply_to else None)
        place = places.settled(receipt.turn) or await self._start_thread(receipt.turn, receipt.hold)
        await receipt.save(
            channel=str(place.channel), reply_to=str(place.reply_to) if place.reply_to else None
        )
        return place

    async def _start_thread(self, turn: Turn, hold: Hold) -> Place:
        question = places.opening(turn)
        assert question is not None
        channel, message = int(question.place["channel"]), int(question.place["message"])
        try:
            name = places.thread_name(question.text)
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
                await beside.asking.settle(answer.decided.pop())
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
            await beside.asking.show(approval)
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
