"""Replies of one process: each answer is passed from its turn to the waiting HTTP callers."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import assert_never
from weakref import WeakValueDictionary

from bot.chat import (
    AnswerButtons,
    AnswerError,
    Approval,
    File,
    Json,
    LeaseLost,
    Notice,
    OpenRequests,
    Part,
    PlatformError,
    Question,
    Receipt,
    Request,
    StorageDown,
    Table,
    Text,
    ToolStep,
    Turn,
)
from bot.chat.texts import command_failed
from bot.commands import approval_texts, question_texts
from bot.commands.approval_texts import display_name
from bot.http import texts
from bot.http.callers import caller_in
from bot.http.errors import Refusal, not_now
from bot.platforms.table_text import markdown

MAX_REMEMBERED = 1_000
"""Most finished answers in memory for callers that repeat a request."""

_MOST_TEXT_ROWS = 20
"""Most rows of a table in the text of an answer; its data has all of them."""


class Reply:
    """One answer, written once and read from its start by any number of callers."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._over = False
        self._refusal: Refusal | None = None
        self._changed = asyncio.Event()

    @property
    def over(self) -> bool:
        """Return True if the answer is complete or has failed."""
        return self._over

    @property
    def has_begun(self) -> bool:
        """Return True if there is at least one part."""
        return bool(self._parts)

    def markdown(self, reader: str) -> str:
        """Return the answer so far, as its reader sees it, without the notice of a failure."""
        return as_markdown(self._parts, reader)

    @property
    def failure(self) -> Notice | None:
        """Return the notice of a failure, including earlier notices of what was done, or None."""
        return _failure(self._parts)

    @property
    def files(self) -> Sequence[File]:
        """Return the files that were shown so far."""
        return [part for part in self._parts if isinstance(part, File)]

    @property
    def tables(self) -> Sequence[Table]:
        """Return the tables that were shown so far."""
        return [part for part in self._parts if isinstance(part, Table)]

    def add(self, part: Part) -> None:
        """Add the next part for every caller."""
        self._parts.append(part)
        self._wake()

    def finish(self, refusal: Refusal | None = None) -> None:
        """End the answer for all callers, with an error if there is a `refusal`."""
        self._over = True
        self._refusal = refusal
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, pause: float, patience: float) -> AsyncIterator[Sequence[Part]]:
        """Yield the parts as they come, and an empty sequence after each `pause` seconds of silence.

        Raises the `Refusal` of the answer, or one with 504 after `patience` seconds of silence.
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
                    raise Refusal(504, texts.NO_ANSWER_YET)
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
    """Current replies by message id."""

    def __init__(self) -> None:
        # referenced by the callers that read a reply and by the turn that writes it, and dropped with the
        # last
        self._open: WeakValueDictionary[str, Reply] = WeakValueDictionary()
        self._finished: OrderedDict[str, Sequence[Part]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def join(self, message_id: str) -> Reply:
        """Return the reply to a message: finished, running, or not begun."""
        if message_id in self._finished:
            return at_hand(*self._finished[message_id])
        return self._open.setdefault(message_id, Reply())

    async def show(self, parts: AsyncIterator[Part], receipt: Receipt) -> Sequence[Part]:
        """Pass the parts of a turn's answer to the callers of all its messages, and store and return it.

        An answer that the receipt already holds is shown as stored.
        """
        turn = receipt.turn
        replies = {message.id: self._begin(message.id) for message in turn.messages}
        try:
            shown = await _pass_on(parts, receipt, replies.values())
        except BaseException as error:  # also cancellation: nobody may wait for an answer that has ended
            self._close(replies, _refusal(error, turn))
            raise
        self._remember(turn, stored_parts(receipt.state))
        self._close(replies, None)
        return shown

    def abandon(self) -> None:
        """End every reply: the process is about to stop."""
        for reply in list(self._open.values()):
            reply.finish(_shutdown_refusal())
        self._open.clear()

    def _remember(self, turn: Turn, answer: Sequence[Part]) -> None:
        if any(isinstance(part, Table) for part in answer):
            return  # large, and in the store
        for message in turn.messages:
            self._finished[message.id] = answer
        while len(self._finished) > MAX_REMEMBERED:
            self._finished.popitem(last=False)

    def _begin(self, message_id: str) -> Reply:
        """Return an empty reply to write to; an unfinished one of an earlier attempt is closed."""
        reply = self.join(message_id)
        if not reply.has_begun:
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


def as_markdown(parts: Iterable[Part], reader: str) -> str:
    """Return an answer as one text; each notice is a paragraph, and failures are left out.

    The tables come last. Requests call the `reader`, an author as in `Message`, "you".
    """
    parts = list(parts)
    text = "".join(piece(part, reader) for part in parts).strip("\n")
    tables = [table_text(part) for part in parts if isinstance(part, Table)]
    return "\n\n".join(filter(None, [text, *tables]))


def table_text(table: Table) -> str:
    """Return the first rows of a table as Markdown."""
    return markdown(table, _MOST_TEXT_ROWS)


def is_whole_in_text(table: Table) -> bool:
    """Return whether the text of a table has everything that its file has."""
    return table.is_whole and len(table.rows) <= _MOST_TEXT_ROWS


def request_text(request: Request, reader: str) -> str:
    """Return the text of a request, with the users who can decide it, or with the decision."""

    def name(author: str) -> str:
        return "you" if author == reader else display_name(request, author)

    match request:
        case Approval():
            return approval_texts.request_text(
                request, name, lambda author: author == reader or author in request.names
            )
        case Question():
            return question_texts.question_text(request, name)


def piece(part: Part, reader: str) -> str:
    """Return the part of the text of an answer that stands for a part."""
    match part:
        case Text():
            return part.text
        case Notice():
            return "" if part.status else f"\n\n{part.text}\n\n"
        case Approval() | Question():
            return f"\n\n{request_text(part, reader)}\n\n"
        case ToolStep() | Table() | File() | AnswerButtons() | OpenRequests():
            return ""
        case _:
            assert_never(part)


async def _pass_on(
    parts: AsyncIterator[Part], receipt: Receipt, replies: Collection[Reply]
) -> Sequence[Part]:
    """Pass the parts to all replies and store the answer; return what was shown."""
    if receipt.state.get("finished"):
        answer = stored_parts(receipt.state)
        for reply in replies:
            for part in answer:
                reply.add(part)
        return answer
    shown: list[Part] = []
    async for part in parts:
        shown.append(part)
        for reply in replies:
            reply.add(part)
    files = [part.to_json() for part in shown if isinstance(part, File)]
    tables = [part.to_json() for part in shown if isinstance(part, Table)]
    failure = _failure(shown)
    without_tables = [part for part in shown if not isinstance(part, Table)]
    await receipt.check()  # nothing is awaited from here until the callers have it
    receipt.note_result(
        answer=as_markdown(without_tables, caller_in(receipt.turn.thread).author),
        **({"tables": tables} if tables else {}),
        **({"files": files} if files else {}),
        **({"failure": asdict(failure)} if failure else {}),
        finished=True,
    )
    return shown


def stored_parts(state: Mapping[str, Json]) -> Sequence[Part]:
    """Return the answer in a finished receipt, with its failure if there is one."""
    files = [File(**each) for each in state.get("files", ())]
    failure = [Notice(**state["failure"])] if "failure" in state else []
    tables = [Table.from_json(each) for each in state.get("tables", ())]
    return [Text(str(state["answer"])), *tables, *files, *failure]


def _failure(parts: Sequence[Part]) -> Notice | None:
    """Return the notice of a failure, joined with the notices before it, or None."""
    notices: list[Notice] = []
    for part in reversed(parts):
        if not isinstance(part, Notice):
            break
        notices.insert(0, part)
    if not notices or not notices[-1].status:
        return None
    return Notice("\n\n".join(notice.text for notice in notices), notices[-1].status)


def at_hand(*answer: Part) -> Reply:
    """Return a finished reply."""
    reply = Reply()
    for part in answer:
        reply.add(part)
    reply.finish()
    return reply


def _shutdown_refusal() -> Refusal:
    return not_now(texts.SHUTTING_DOWN)


def _starts_again() -> Refusal:
    return not_now(texts.STARTS_AGAIN)


def _refusal(error: BaseException, turn: Turn) -> Refusal:
    match error:
        case AnswerError(status=status):
            return Refusal(status, str(error))
        case asyncio.CancelledError():
            return _shutdown_refusal()
        case LeaseLost() | StorageDown() | PlatformError():  # the turn is retried
            return _starts_again()
        case _:
            return Refusal(500, command_failed(turn.id))
