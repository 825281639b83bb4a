"""Replies on Discord: shown as they grow, completed after a restart."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.chat import (
    AnswerButtons,
    Approval,
    Files,
    InboxLookup,
    Notice,
    Part,
    Question,
    RateLimited,
    Receipt,
    Request,
    ThreadId,
    Turn,
    Undeliverable,
    Unreachable,
)
from bot.commands import approval_texts, question_texts
from bot.discord import destination as destinations
from bot.discord.api import DiscordApi
from bot.discord.ask import show_questions
from bot.discord.destination import Destination
from bot.discord.errors import NAME_REFUSED, GivenUp, Refused, ThreadLocked, code_of
from bot.discord.fallback import announce_delay, move_to_author, notify_author
from bot.discord.messages import EditPace, ReplyMessages
from bot.discord.part_timeout import PartTimeout
from bot.discord.private_reply import reply_privately
from bot.discord.refusals import Refusals
from bot.discord.renderer import Renderer
from bot.discord.requests import Requests
from bot.discord.status import Status
from bot.discord.texts import QUESTION
from bot.discord.thread_names import thread_name
from bot.discord.threads import start_thread
from bot.discord.timing import Timing
from bot.discord.uploads import Uploads
from bot.platforms.read_ahead import ReadAhead
from bot.platforms.request_guard import Hold

log = logging.getLogger(__name__)


class DiscordThread:
    """Implementation of `bot.chat.Thread`: a Discord thread, a direct message or a chain of replies."""

    def __init__(
        self,
        id: ThreadId,
        api: DiscordApi,
        pace: EditPace,
        lookup: InboxLookup,
        files: Files,
        timing: Timing,
        refusals: Refusals,
    ) -> None:
        self.id = id
        self._timing = timing
        self._refusals = refusals
        self._files = files
        self._api = api
        self._lookup = lookup
        self._pace = pace

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Show `parts` as they arrive; the model is read at its own speed, even if Discord is slow.

        In a locked thread it continues in the author's direct messages. If nothing can be shown, the author
        is notified elsewhere before `Undeliverable` is raised.
        """
        if receipt.state.get("finished"):
            return
        if receipt.turn.messages[-1].is_private:
            await reply_privately(self._api, self._files, parts, receipt, self._pace, self._timing)
            return
        part_timeout = PartTimeout(receipt, self._timing.part_timeout)
        try:
            await self._reply(parts, receipt, part_timeout)
        except Undeliverable as error:
            is_told = await notify_author(self._api, receipt, error, self._refusals)
            if isinstance(error, GivenUp) and not is_told:  # Discord fails at everything, but not for ever
                raise Unreachable(str(error)) from error
            raise
        except RateLimited as error:
            await announce_delay(self._api, receipt, error)
            raise

    async def _reply(self, parts: AsyncIterator[Part], receipt: Receipt, part_timeout: PartTimeout) -> None:
        async with _tasks() as tasks, ReadAhead(parts) as ahead:
            await show_questions(self._api, receipt, part_timeout)
            destination = await self._open(receipt, part_timeout)
            answer = _Answer(part_timeout, self._pace, self._timing.step_delay)
            try:
                await answer.follow(ahead, self._place(tasks, destination, receipt, part_timeout))
            except ThreadLocked as error:
                destination = await move_to_author(self._api, receipt, error, part_timeout)
                await answer.follow(ahead, self._place(tasks, destination, receipt, part_timeout))

    def _place(
        self,
        tasks: asyncio.TaskGroup,
        destination: Destination,
        receipt: Receipt,
        part_timeout: PartTimeout,
    ) -> "_Place":
        return _Place(
            ReplyMessages(self._api, destination, receipt, part_timeout),
            Status(tasks, self._api, destination.channel, receipt.check),
            Requests(self._api, destination, receipt, self._lookup),
            Uploads(self._api, destination, receipt, part_timeout, self._files),
        )

    async def _open(self, receipt: Receipt, part_timeout: PartTimeout) -> Destination:
        """Return the destination of the answer, the same on every attempt."""
        if "channel" in receipt.state:
            reply_to = receipt.state["reply_to"]
            return Destination(int(receipt.state["channel"]), int(reply_to) if reply_to else None)
        destination = destinations.known_destination(receipt.turn) or await self._start_thread(
            receipt.turn, receipt.hold, part_timeout
        )
        receipt.note(
            channel=str(destination.channel),
            reply_to=str(destination.reply_to) if destination.reply_to else None,
        )
        return destination

    async def _start_thread(self, turn: Turn, hold: Hold, part_timeout: PartTimeout) -> Destination:
        question = destinations.starter_message(turn)
        assert question is not None
        channel, message = int(question.channel), int(question.place["message"])
        try:
            async with part_timeout.limit("thread"):
                return Destination(await self._create_thread(channel, message, thread_name(question), hold))
        except Undeliverable as error:  # no permission, a channel without threads, too many of them, ...
            log.info("thread not started", extra={"reason": str(error)})
            return destinations.in_channel(turn)

    async def _create_thread(self, channel: int, message: int, name: str, hold: Hold) -> int:
        try:
            return await start_thread(self._api, channel, message, name, hold=hold)
        except Refused as error:
            if code_of(error) not in NAME_REFUSED:
                raise
            return await start_thread(self._api, channel, message, QUESTION, hold=hold)


@dataclass(frozen=True, slots=True)
class _Place:
    """Everything of one answer in the place where it is shown: messages with its text, requests and files."""

    messages: ReplyMessages
    status: Status
    requests: Requests
    uploads: Uploads


class _Answer:
    """One answer, which may continue in another place."""

    def __init__(self, part_timeout: PartTimeout, pace: EditPace, step_delay: float) -> None:
        self._step_delay = step_delay
        self._part_timeout = part_timeout
        self._pace = pace
        self._renderer = Renderer()
        self._asked: list[Request] = []
        self._unsettled: list[Request] = []
        """Requests with a decision that an archived thread has refused."""

    async def follow(self, ahead: ReadAhead, place: _Place) -> None:
        """Show the parts as they arrive, and return after all are shown. Raises the exception of `ahead`."""
        self._messages, self._status = place.messages, place.status
        self._requests, self._uploads = place.requests, place.uploads
        try:
            await self._follow(ahead)
        except ThreadLocked:
            await self._status.stop()
            raise

    async def _follow(self, ahead: ReadAhead) -> None:
        if not await self._messages.recover():
            self._status.start()
        shown_before = self._messages.shown
        while await self._take_next(ahead):
            texts = self._renderer.messages()
            if sum(map(len, texts)) >= shown_before:
                await self._show(texts)
            await self._uploads.show(self._renderer)
        if ahead.failure:
            raise ahead.failure
        await self._finish()

    async def _take_next(self, ahead: ReadAhead) -> bool:
        """Add new parts until the next edit is allowed; return whether the answer continues."""
        if ahead.has_ended:
            return False
        await self._take(ahead, None)
        if self._renderer.is_working and not ahead.has_ended:
            await self._take(ahead, self._step_delay)  # a tool that ends soon needs no line of its own
        if self._messages.has_any:
            await self._pace.turn(self._messages.channel)
            await self._take(ahead, 0)
        return not ahead.has_ended

    async def _take(self, ahead: ReadAhead, patience: float | None) -> None:
        for part in await ahead.take(patience):
            match part:
                case AnswerButtons():
                    self._messages.buttons = part
                case Approval() | Question() if part.state == "asked":
                    self._asked.append(part)
                case Approval() | Question():
                    await self._settle_request(part)
                case _:
                    self._renderer.add(part)

    async def _show(self, texts: list[str]) -> None:
        """Show the texts; keep typing only while a tool is running: edits do not end the indicator."""
        is_working = self._renderer.is_working
        if texts and not is_working:
            await self._status.stop()
        await self._messages.show(texts)
        if is_working:
            self._status.start()

    async def _finish(self) -> None:
        self._renderer.finish()
        await self._status.stop()
        await self._messages.show(self._renderer.messages())
        await self._uploads.show(self._renderer)
        for request in self._asked:
            await self._show_request(request)
        unsettled, self._unsettled = self._unsettled, []
        for request in unsettled:
            await self._settle_request(request)
        await self._messages.finish(self._renderer.messages())

    async def _show_request(self, request: Request) -> None:
        try:
            async with self._part_timeout.limit(f"request {request.id}"):
                await self._requests.show(request)
        except Refused as error:
            log.warning("request not shown", extra={"request": request.id, "reason": str(error)})
            texts = approval_texts if isinstance(request, Approval) else question_texts
            self._renderer.add(Notice(texts.not_accepted("Discord")))

    async def _settle_request(self, request: Request) -> None:
        """Show the decision on a request; a failure does not undo the decision."""
        try:
            async with self._part_timeout.limit(f"request {request.id}"):
                if not await self._requests.settle(request):
                    self._unsettled.append(request)
        except Refused as error:
            log.warning("decision not shown", extra={"request": request.id, "reason": str(error)})


@asynccontextmanager
async def _tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """Open a task group that raises its first failure itself: callers do not catch exception groups."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:  # also of cancellations; the first failure is raised again
        first = failures.exceptions[0]
        raise first from first.__cause__
