"""One turn: messages in, one reply out. Errors become sentences for the user here."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Protocol, cast

from bot.chat import (
    Admission,
    Admit,
    Agent,
    AnswerError,
    Approval,
    File,
    Halt,
    Harmless,
    Health,
    Ignore,
    Json,
    LeaseLost,
    Message,
    Notice,
    Part,
    PlatformError,
    Receipt,
    Refuse,
    Showing,
    StorageDown,
    Text,
    Thread,
    ThreadId,
    ToolStep,
    Turn,
    harmless,
)

log = logging.getLogger(__name__)

_FAILED = "Something went wrong on my side, and I could not finish this. Reference: `{reference}`."
_TOO_LONG = (
    "I stopped here, since this took longer than {minutes:g} minutes. Ask for a part of it, or ask again."
)


class TypedCommands(Protocol):
    """Commands that users type as messages."""

    async def answer(self, message: Message) -> str | None:
        """Run the command in a message and return the answer, in Markdown; None where there is no command.

        Raises `StorageDown`.
        """


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations of the turns in this process; a `bot.chat.HealthCheck`."""

    name = "turns"
    seconds: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=1000))
    """The end of each turn (monotonic seconds), and how long it took."""

    def add(self, began: float) -> float:
        """Add a turn that ends now; returns its seconds."""
        ended = time.monotonic()
        self.seconds.append((ended, ended - began))
        return ended - began

    async def health(self) -> Health:
        """Return how long turns take, and how many there were in the last hour."""
        seconds = sorted(duration for _, duration in self.seconds)
        hour_ago = time.monotonic() - 3600
        evidence: dict[str, float] = {"last_hour": sum(ended > hour_ago for ended, _ in self.seconds)}
        if seconds:
            evidence["p50_s"] = round(seconds[len(seconds) // 2], 2)
            evidence["p99_s"] = round(seconds[len(seconds) * 99 // 100], 2)
        return Health(name=self.name, state="ok", evidence=evidence)


@dataclass(frozen=True, slots=True)
class Turns:
    """Takes turns: asks the agent, and hands its parts to the thread's reply.

    An attempt that takes longer than `limit` seconds is ended with a sentence to the user who asked.
    """

    agent: Agent
    thread: Callable[[ThreadId], Thread]
    admission: Admission
    limit: float
    commands: TypedCommands | None = None
    showing: Showing | None = None
    durations: Durations = field(default_factory=Durations)

    async def take(self, turn: Turn, receipt: Receipt, halt: Halt) -> None:
        """Answer one turn to its end, which comes at once when `halt` is done.

        Raises what means "again later" or "not mine": `PlatformError`, `StorageDown`, `LeaseLost`, and what
        a reply raises. Whatever else goes wrong with the answer is told to the person who asked, once, and
        ends the turn.
        """
        began = time.monotonic()
        log.info("turn started", extra={"attempt": turn.attempt, "messages": len(turn.messages)})
        received = await self._received(turn, receipt)
        ignored = [each for each in received.values() if isinstance(each, Ignore)]
        if len(ignored) == len(turn.messages):
            log.info("turn passed over in silence")
            return
        async with aclosing(self._parts(turn, receipt, halt, received)) as parts:
            await self.thread(turn.thread).reply(parts, receipt)
        log.info("turn finished", extra={"seconds": round(self.durations.add(began), 3)})

    async def _parts(
        self, turn: Turn, receipt: Receipt, halt: Halt, received: Mapping[str, Notice | Ignore]
    ) -> AsyncGenerator[Part]:
        """Yield the parts of the reply. What ends it early becomes the last one, and is not run again."""
        for notice in dict.fromkeys(each for each in received.values() if isinstance(each, Notice)):
            yield notice
        asked = replace(turn, messages=tuple(each for each in turn.messages if each.id not in received))
        if not asked.messages:
            return
        said: list[Part] = []
        if receipt.state.get("ending"):
            said = [_unpacked(each) for each in receipt.state.get("said", ())]
            for part in said:
                yield part
            async for shown in self._shown_elsewhere(said, receipt):
                yield shown
        else:
            if turn.decision and halt.done():  # what was decided is carried out; a stop is for answers
                halt = asyncio.get_running_loop().create_future()
            problem = _Problem()
            async with aclosing(_harmless(self._answered(asked, halt, problem))) as parts:
                async for part in parts:
                    said.append(part)
                    yield part
            async for shown in self._shown_elsewhere(said, receipt):
                yield shown
            if not problem.words:
                return
            # before the memory is told: an agent that is asked again would take that for an answer of its own
            status = {"ending_status": problem.status} if problem.status else {}
            await receipt.save(ending=problem.words, **status, said=[_packed(part) for part in _joined(said)])
        ending: str = receipt.state["ending"]
        # again after a crash: it changes nothing
        outcome = await self.agent.conclude(asked, _answer(said, ending))
        if outcome:
            yield Notice(outcome)
        yield Notice(ending, receipt.state.get("ending_status"))

    async def _shown_elsewhere(self, said: Iterable[Part], receipt: Receipt) -> AsyncIterator[Notice]:
        """Show the answer's requests where approvers see them, and there what was decided of others.

        Once the answer is complete: while it comes, a time limit may cut short whatever happens beside it.
        """
        for approval in [each for each in said if isinstance(each, Approval) and self.showing]:
            assert self.showing
            if approval.state != "asked":
                await self.showing.settle(approval, receipt)
            elif words := await self.showing.show(approval, receipt):
                yield Notice(words)

    async def _received(self, turn: Turn, receipt: Receipt) -> dict[str, Notice | Ignore]:
        """Return the messages that the agent does not answer, by id; they stay so on every attempt.

        The receipt keeps the text for each, which is empty for one to ignore. Once the reply has begun, the
        agent was asked: what would be refused by now does not end the answer.
        """
        if "received" not in receipt.state:
            if receipt.state.keys() - {"ending"}:  # that alone is of a turn that is given up
                return {}
            received = {message.id: await self._receive(message) for message in turn.messages}
            kept = {id: each for id, each in received.items() if each is not None}
            if not kept:
                return {}
            texts = {id: each.text if isinstance(each, Notice) else "" for id, each in kept.items()}
            await receipt.save(received=texts)
        return {id: Notice(text) if text else Ignore() for id, text in receipt.state["received"].items()}

    async def _receive(self, message: Message) -> Notice | Ignore | None:
        """Check a message and run the command in it; returns None when the agent is to answer it.

        A user who is refused runs no command, and a command counts as a message.
        """
        match await self.admission.check(message):
            case Refuse(sentence):
                return Notice(sentence)
            case Ignore() as ignored:
                return ignored
            case Admit():
                if self.commands is None or message.decision:
                    return None
                answer = await self.commands.answer(message)
                return Notice(answer) if answer is not None else None

    async def _answered(self, turn: Turn, halt: Halt, problem: "_Problem") -> AsyncGenerator[Part]:
        """Yield the agent's parts; `problem` is filled when something ends them early."""
        try:
            async with _until(halt, self.limit), aclosing(_generator(self.agent.answer(turn))) as parts:
                async for part in parts:
                    yield part
        except (PlatformError, StorageDown, LeaseLost):
            raise
        except AnswerError as error:
            log.warning("no answer", extra={"error": str(error)})
            problem.words, problem.status = harmless(str(error)), error.status
        except _Halted:
            if halt.done():
                problem.words = halt.result()
            else:
                problem.words, problem.status = _TOO_LONG.format(minutes=self.limit / 60), 504
            log.info("turn ended early", extra={"ending": problem.words})
        except Exception:  # the outermost boundary of a turn: the person gets words, the log the trace
            log.exception("turn failed", extra={"reference": turn.reference})
            problem.words, problem.status = _FAILED.format(reference=turn.reference), 500


@dataclass(slots=True)
class _Problem:
    """Words for what ended an answer early; with a status when it has failed, without when it was stopped."""

    words: str = ""
    status: int | None = None


class _Halted(Exception):
    """Raised when the turn has to end now."""


@asynccontextmanager
async def _until(halt: Halt, seconds: float) -> AsyncIterator[None]:
    """Let the body run until `halt` is done or `seconds` are over; then cancel it and raise `_Halted`.

    A `TimeoutError` of the body's own passes through as it is. What is cancelled is the task that entered:
    whoever reads the parts does so in one task, and does nothing else there.
    """
    loop = asyncio.get_running_loop()
    if halt.done():
        raise _Halted
    limit = asyncio.timeout(seconds)
    has_ended = False

    def end(_: Halt) -> None:
        if not has_ended and not limit.expired():
            limit.reschedule(loop.time())

    try:
        async with limit:
            halt.add_done_callback(end)
            try:
                yield
            finally:
                has_ended = True  # the callback may be on its way
                halt.remove_done_callback(end)
    except TimeoutError:
        if limit.expired():
            raise _Halted from None
        raise


_KINDS: dict[str, type[Part]] = {kind.__name__: kind for kind in (Text, ToolStep, Approval, Notice, File)}


def _packed(part: Part) -> Json:
    return [type(part).__name__, asdict(part)]


def _unpacked(stored: Json) -> Part:
    kind, fields = stored
    return Approval.from_json(fields) if kind == Approval.__name__ else _KINDS[kind](**fields)


def _answer(said: Iterable[Part], ending: str) -> str:
    """Return the whole answer in words, as the memory keeps it."""
    texts = [part.text for part in said if isinstance(part, Text)]
    return "".join([*texts, "\n\n", ending]).strip()


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts, with texts in a row joined into one."""
    for is_text, group in groupby(parts, lambda part: isinstance(part, Text)):
        if is_text:
            yield Text("".join(part.text for part in group if isinstance(part, Text)))
        else:
            yield from group


async def _harmless(parts: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    """Yield the parts of an answer, none of which can imitate a request of the bot."""
    text = Harmless()
    async with aclosing(parts):
        async for part in parts:
            shown = text.take(part.text) if isinstance(part, Text) else text.rest()
            if shown:
                yield Text(shown)
            match part:
                case ToolStep():
                    yield replace(part, title=harmless(part.title), output=harmless(part.output))
                case Notice():
                    yield Notice(harmless(part.text))
                case File():
                    yield replace(part, alt=harmless(part.alt))
                case Approval():
                    yield part
                case Text():
                    pass
    if shown := text.rest():
        yield Text(shown)


def _generator(parts: AsyncIterator[Part]) -> AsyncGenerator[Part]:
    return cast("AsyncGenerator[Part]", parts)
