"""Answers on their way from the worker to the callers who wait for them, in one process."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import assert_never
from weakref import WeakValueDictionary

from bot.chat import (
    AnswerError,
    Approval,
    File,
    Json,
    LeaseLost,
    Notice,
    Part,
    PlatformError,
    Receipt,
    StorageDown,
    Text,
    ToolStep,
    Turn,
)
from bot.commands.approvals import asked, named
from bot.http.errors import Refusal, not_now

MAX_REMEMBERED = 1_000
"""Finished answers kept for callers that repeat a request."""

CALLER = "http:api"
"""Whoever holds the token is one caller."""

REPEAT = "Repeat the request with the same Idempotency-Key to wait for it."


class Reply:
    """One answer: written once, read from its start by any number of callers."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._over = False
        self._refusal: Refusal | None = None
        self._changed = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._over

    @property
    def begun(self) -> bool:
        """Whether a part has come."""
        return bool(self._parts)

    @property
    def markdown(self) -> str:
        """The answer so far, without the reason why it failed."""
        return as_markdown(self._parts)

    @property
    def failure(self) -> Notice | None:
        """The reason why there is no whole answer, after what was done all the same."""
        return _failure(self._parts)

    @property
    def files(self) -> Sequence[File]:
        """The files that were shown so far."""
        return [part for part in self._parts if isinstance(part, File)]

    def add(self, part: Part) -> None:
        """Give the next part to every caller."""
        self._parts.append(part)
        self._wake()

    def finish(self, refusal: Refusal | None = None) -> None:
        """Release the callers, with an error when there is a `refusal`."""
        self._over = True
        self._refusal = refusal
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, pause: float, patience: float) -> AsyncIterator[Sequence[Part]]:
        """The parts as they come, some at a time; nothing at all whenever `pause` seconds were silent.

        Raises `Refusal`: the one that the answer ended with, or 504 after `patience` seconds of silence.
        """
        taken, silence = 0, 0.0
        while True:
            if fresh := self._parts[taken:]:
                taken, silence = taken + len(fresh), 0.0
                yield fresh
            elif self._over:
                break
            elif not await self._change(pause := min(pause, patience)):
                silence += pause
                if silence >= patience:
                    raise Refusal(504, "There is no answer yet. " + REPEAT)
                yield ()
        if self._refusal:
            raise self._refusal

    async def _change(self, pause: float) -> bool:
        try:
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True


class Replies:
    """The answers under way, by the id of the message that asks."""

    def __init__(self) -> None:
        # held by the callers that read a reply and by the turn that writes it, and gone with the last of them
        self._open: WeakValueDictionary[str, Reply] = WeakValueDictionary()
        self._finished: OrderedDict[str, Sequence[Part]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def join(self, message_id: str) -> Reply:
        """The answer to a message: at hand, under way, or still to come."""
        if message_id in self._finished:
            return at_hand(*self._finished[message_id])
        return self._open.setdefault(message_id, Reply())

    async def show(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Pass the parts of a turn's one answer to the callers of all its messages, and store the answer.

        An answer that the receipt already has is shown as it was stored.
        """
        turn = receipt.turn
        replies = {message.id: self._begin(message.id) for message in turn.messages}
        try:
            answer = await _pass_on(parts, receipt, replies.values())
        except BaseException as error:  # cancelling counts too: nobody may wait for an answer that has ended
            self._close(replies, _refusal(error, turn))
            raise
        self._remember(turn, answer)
        self._close(replies, None)

    def abandon(self) -> None:
        """Release every caller: the process is about to stop."""
        for reply in list(self._open.values()):
            reply.finish(_stopping())
        self._open.clear()

    def _remember(self, turn: Turn, answer: Sequence[Part]) -> None:
        for message in turn.messages:
            self._finished[message.id] = answer
        while len(self._finished) > MAX_REMEMBERED:
            self._finished.popitem(last=False)

    def _begin(self, message_id: str) -> Reply:
        """The reply to write: not one that callers have seen something of.

        What an attempt before us left half written is closed; what was found in the store is whole.
        """
        reply = self.join(message_id)
        if not reply.begun:
            return reply
        if not reply.over:
            self._close({message_id: reply}, _starts_again())
        self._open[message_id] = fresh = Reply()
        return fresh

    def _close(self, replies: Mapping[str, Reply], refusal: Refusal | None) -> None:
        for message_id, reply in replies.items():
            if self._open.get(message_id) is reply:  # else a later attempt has taken its place
                del self._open[message_id]
            reply.finish(refusal)


@dataclass(frozen=True, slots=True)
class HttpThread:
    """A caller's thread: the answer goes to whoever waits for it, and into the receipt."""

    replies: Replies

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """See `bot.chat.Thread.reply`."""
        await self.replies.show(parts, receipt)


def as_markdown(parts: Iterable[Part]) -> str:
    """An answer as one text: the model's pieces joined, each notice a paragraph of its own.

    What says that it has failed is no part of it.
    """
    return "".join(_piece(part) for part in parts).strip("\n")


def told(approval: Approval) -> str:
    """All of a request, with who may decide it or who has."""

    def name(author: str) -> str:
        return "you" if author == CALLER else named(approval, author)

    return asked(approval, name, lambda author: author == CALLER or author in approval.names)


def _piece(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case Notice():
            return "" if part.status else f"\n\n{part.text}\n\n"
        case Approval():
            return f"\n\n{told(part)}\n\n"
        case ToolStep() | File():
            return ""
        case _:
            assert_never(part)


async def _pass_on(
    parts: AsyncIterator[Part], receipt: Receipt, replies: Collection[Reply]
) -> Sequence[Part]:
    """Give all replies the parts; returns the whole answer as it is stored."""
    if receipt.state.get("finished"):
        answer = stored(receipt.state)
        for reply in replies:
            for part in answer:
                reply.add(part)
        return answer
    shown: list[Part] = []
    async for part in parts:
        shown.append(part)
        for reply in replies:
            reply.add(part)
    files = [asdict(part) for part in shown if isinstance(part, File)]
    failure = _failure(shown)
    await receipt.save(
        answer=as_markdown(shown),
        **({"files": files} if files else {}),
        **({"failure": asdict(failure)} if failure else {}),
        finished=True,
    )
    return stored(receipt.state)


def stored(state: Mapping[str, Json]) -> Sequence[Part]:
    """Return the answer that a finished receipt holds, with its failure if it has one."""
    files = [File(**each) for each in state.get("files", ())]
    failure = [Notice(**state["failure"])] if "failure" in state else []
    return [Text(str(state["answer"])), *files, *failure]


def _failure(parts: Sequence[Part]) -> Notice | None:
    """Return the notice that says why an answer failed, after those that say what was done all the same."""
    notices: list[Notice] = []
    for part in reversed(parts):
        if not isinstance(part, Notice):
            break
        notices.insert(0, part)
    if not notices or not notices[-1].status:
        return None
    return Notice("\n\n".join(notice.text for notice in notices), notices[-1].status)


def at_hand(*answer: Part) -> Reply:
    """A reply that has nothing to wait for."""
    reply = Reply()
    for part in answer:
        reply.add(part)
    reply.finish()
    return reply


def _stopping() -> Refusal:
    return not_now("The bot is stopping, and answers after its restart. " + REPEAT)


def _starts_again() -> Refusal:
    return not_now("The answer was interrupted and starts again. " + REPEAT)


def _refusal(error: BaseException, turn: Turn) -> Refusal:
    match error:
        case AnswerError(status=status):
            return Refusal(status, str(error))
        case asyncio.CancelledError():
            return _stopping()
        case LeaseLost() | StorageDown() | PlatformError():  # the turn is tried again
            return _starts_again()
        case _:
            return Refusal(500, f"The answer broke off. The log has the details under reference {turn.id}.")
