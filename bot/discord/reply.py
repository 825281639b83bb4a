"""One answer in one place: shown as it grows, finished after a restart."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.chat import (
    Approval,
    Files,
    Notice,
    Part,
    Receipt,
    Shared,
    ThreadId,
    Turn,
    Undeliverable,
    Unreachable,
)
from bot.discord import destination as destinations
from bot.discord.api import DiscordApi
from bot.discord.approvals import Approvals
from bot.discord.destination import Destination
from bot.discord.errors import GivenUp, Refused
from bot.discord.fallback import Elsewhere
from bot.discord.messages import EditPace, Messages
from bot.discord.patience import Patience
from bot.discord.renderer import Renderer
from bot.discord.request_guard import Hold
from bot.discord.status import Status
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
        api: DiscordApi,
        pace: EditPace,
        shared: Shared,
        files: Files,
        patience: float,
    ) -> None:
        self.id = id
        self._patience = patience
        self._files = files
        self._api = api
        self._shared = shared
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
            is_told = await Elsewhere(self._api, receipt).tell(error)
            if isinstance(error, GivenUp) and not is_told:  # it fails at everything: that ends some day
                raise Unreachable(str(error)) from error
            raise

    async def _reply(self, parts: AsyncIterator[Part], receipt: Receipt, patience: Patience) -> None:
        answer = _Growing()
        async with _tasks() as tasks:
            tasks.create_task(answer.read(parts))
            destination = await self._open(receipt, patience)
            status = Status(tasks, self._api, destination.channel, receipt.hold)
            beside = _Beside(
                Approvals(self._api, destination, receipt, self._shared),
                Uploads(self._api, destination, receipt, patience, self._files),
                patience,
            )
            await self._follow(answer, Messages(self._api, destination, receipt, patience), status, beside)

    async def _open(self, receipt: Receipt, patience: Patience) -> Destination:
        """Where the answer goes, the same on every attempt."""
        if "channel" in receipt.state:
            reply_to = receipt.state["reply_to"]
            return Destination(int(receipt.state["channel"]), int(reply_to) if reply_to else None)
        destination = destinations.settled(receipt.turn) or await self._start_thread(
            receipt.turn, receipt.hold, patience
        )
        await receipt.save(
            channel=str(destination.channel),
            reply_to=str(destination.reply_to) if destination.reply_to else None,
        )
        return destination

    async def _start_thread(self, turn: Turn, hold: Hold, patience: Patience) -> Destination:
        question = destinations.opening(turn)
        assert question is not None
        channel, message = int(question.place["channel"]), int(question.place["message"])
        try:
            name = destinations.thread_name(question.text)
            async with patience.part("thread"):
                return Destination(await self._api.start_thread(channel, message, name, hold=hold))
        except Undeliverable as error:  # no permission, a channel without threads, too many of them, ...
            log.info("no thread here, answering in the channel", extra={"reason": str(error)})
            return destinations.in_channel(turn)

    async def _follow(
        self, answer: "_Growing", messages: Messages, status: Status, beside: "_Beside"
    ) -> None:
        if not await messages.recover():
            status.start()
        shown_before = messages.shown
        while True:
            await answer.news()
            while answer.decided:
                await beside.settle(answer.decided.pop())
            if messages.has_any:
                await self._pace.turn(messages.channel)
            if answer.finished:
                break
            texts = answer.renderer.messages()
            if sum(map(len, texts)) >= shown_before:
                await _show(texts, messages, status, working=answer.renderer.working)
            await beside.uploads.show(answer.renderer)
        await status.stop()
        texts = answer.renderer.messages()
        await messages.show(texts)
        await beside.uploads.show(answer.renderer)
        for approval in answer.asked:
            if words := await beside.show(approval):
                answer.renderer.add(Notice(words))
        await messages.finish(answer.renderer.messages())


async def _show(texts: list[str], messages: Messages, status: Status, *, working: bool) -> None:
    """Show what there is; the bot types on only while a tool is at work, since edits do not end that."""
    if texts and not working:
        await status.stop()
    await messages.show(texts)
    if working:
        status.start()


@dataclass(frozen=True, slots=True)
class _Beside:
    """What is shown in messages beside the text."""

    approvals: Approvals
    uploads: Uploads
    patience: Patience

    async def show(self, approval: Approval) -> str:
        """Show a request; the words for why it cannot be shown, or nothing."""
        try:
            async with self.patience.part(f"request {approval.id}"):
                await self.approvals.show(approval)
        except Refused as error:
            log.warning("request not shown", extra={"request": approval.id, "reason": str(error)})
            return _NOT_ASKED
        return ""

    async def settle(self, approval: Approval) -> None:
        """Show a request as decided; that it cannot be shown does not undo it."""
        try:
            async with self.patience.part(f"request {approval.id}"):
                await self.approvals.settle(approval)
        except Refused as error:
            log.warning("request not shown as decided", extra={"request": approval.id, "reason": str(error)})


class _Growing:
    """An answer that is being read."""

    def __init__(self) -> None:
        self.renderer = Renderer()
        self.asked: list[Approval] = []
        self.decided: list[Approval] = []
        self.finished = False
        self._news = asyncio.Event()

    async def read(self, parts: AsyncIterator[Part]) -> None:
        async for part in parts:
            if isinstance(part, Approval):
                (self.asked if part.state == "asked" else self.decided).append(part)
            else:
                self.renderer.add(part)
            self._news.set()
        self.renderer.finish()
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
