"""One turn: messages in, one reply out. Errors become sentences for the user here."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol, cast

from bot.chat import (
    NO_BUTTONS,
    Admission,
    Admit,
    Agent,
    AnswerButtons,
    AnswerError,
    AnswerRecorder,
    AnswerTally,
    Approval,
    ApprovalDisplay,
    Halt,
    Harmless,
    Health,
    Ignore,
    LeaseLost,
    MemoryWriter,
    Message,
    Notice,
    OpenRequests,
    Part,
    PlatformError,
    Question,
    Receipt,
    Recordings,
    Refuse,
    StorageDown,
    Text,
    Thread,
    ThreadId,
    Transcripts,
    Turn,
    harmless,
    inert,
    pack_parts,
    unended,
    unpack_parts,
)
from bot.chat.texts import STEP_STOPPED, too_long, turn_failed

log = logging.getLogger(__name__)

_HEARD = "heard"
"""Key of a receipt's state with the transcripts of the turn's recordings."""


class TextCommands(Protocol):
    """Commands that users type as messages."""

    async def answer(self, message: Message) -> str | None:
        """Run the command in a message and return the answer in Markdown, or None if there is no command.

        Raises `StorageDown`.
        """


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations of the turns in this process; a `bot.chat.HealthCheck`."""

    name = "turns"
    seconds: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=1000))
    """End (monotonic seconds) and duration of each turn."""

    def add(self, began: float) -> float:
        """Add a turn that has just ended; return its duration in seconds."""
        ended = time.monotonic()
        self.seconds.append((ended, ended - began))
        return ended - began

    async def health(self) -> Health:
        """Return the durations of turns, and their number in the last hour."""
        seconds = sorted(duration for _, duration in self.seconds)
        hour_ago = time.monotonic() - 3600
        evidence: dict[str, float] = {"last_hour": sum(ended > hour_ago for ended, _ in self.seconds)}
        if seconds:
            evidence["p50_s"] = round(seconds[len(seconds) // 2], 2)
            evidence["p99_s"] = round(seconds[len(seconds) * 99 // 100], 2)
        return Health(name=self.name, state="ok", evidence=evidence)


@dataclass(frozen=True, slots=True)
class Turns:
    """Runner of turns: gets the answer from the agent and passes its parts to the thread's reply.

    An attempt that takes longer than `limit` seconds ends with a sentence to the user.
    """

    agent: Agent
    thread: Callable[[ThreadId], Thread]
    admission: Admission
    limit: float
    commands: TextCommands | None = None
    approval_display: ApprovalDisplay | None = None
    durations: Durations = field(default_factory=Durations)
    memory: MemoryWriter | None = None
    recordings: Recordings | None = None
    recorder: AnswerRecorder | None = None

    async def run(self, turn: Turn, receipt: Receipt, halt: Halt) -> None:
        """Answer one turn completely; it ends at once if `halt` is done.

        Raises the errors after which the turn is repeated or belongs to another process: `PlatformError`,
        `StorageDown`, `LeaseLost`, and the errors of a reply. All other errors of the answer end the turn
        with a sentence to the user.
        """
        began = time.monotonic()
        earlier = {"failures": turn.failures, "crashes": turn.crashes, "hangs": turn.hangs}
        log.info("turn started", extra={"attempt": turn.attempt, "messages": len(turn.messages), **earlier})
        received = await self._admissions(turn, receipt)
        ignored = [each for each in received.values() if isinstance(each, Ignore)]
        if len(ignored) == len(turn.messages):
            log.info("turn ignored")
            return
        tally = AnswerTally()
        async with aclosing(self._with_buttons(turn, receipt, halt, received, tally)) as parts:
            await self.thread(turn.thread).reply(parts, receipt)
        await self._find_filing(self._heard(_asked(turn, received), receipt), receipt)
        seconds = self.durations.add(began)
        # a finished reply reads no parts again: whether it had buttons is not known
        if self.recorder and (tally.buttons(turn, receipt.state).answer or not tally.is_read):
            has_failed = "ending" in receipt.state
            receipt.details = self.recorder.details(turn, tally.tools, seconds, has_failed=has_failed)
        log.info("turn finished", extra={"seconds": round(seconds, 3)})

    async def _with_buttons(
        self,
        turn: Turn,
        receipt: Receipt,
        halt: Halt,
        received: Mapping[str, Notice | Ignore],
        tally: AnswerTally,
    ) -> AsyncGenerator[Part]:
        """Yield the parts of the reply; the buttons below an answer come before what they depend on."""
        tally.is_read, shown = True, NO_BUTTONS
        async with aclosing(self._parts(turn, receipt, halt, received)) as parts:
            async for part in parts:
                tally.add(part)
                if self.recorder and (buttons := tally.buttons(turn, receipt.state)) != shown:
                    shown = buttons
                    yield buttons
                yield part

    async def _parts(
        self, turn: Turn, receipt: Receipt, halt: Halt, received: Mapping[str, Notice | Ignore]
    ) -> AsyncGenerator[Part]:
        """Yield the parts of the reply; an early end becomes the last part, and stays on later attempts."""
        for notice in dict.fromkeys(each for each in received.values() if isinstance(each, Notice)):
            yield notice
        asked = _asked(turn, received)
        if not asked.messages:
            return
        said: list[Part] = []
        if receipt.state.get("ending"):
            said = unpack_parts(receipt.state)
            for part in said:
                yield part
            async for shown in self._show_elsewhere(said, receipt):
                yield shown
        else:
            if turn.decision and halt.done():  # a decision is always carried out: stops are for answers
                halt = asyncio.get_running_loop().create_future()
            problem = _Problem()
            async with aclosing(_harmless(self._answer_parts(asked, receipt, halt, problem))) as parts:
                async for part in parts:
                    if not isinstance(part, OpenRequests):  # nothing that is said
                        said.append(part)
                    yield part
            async for shown in self._show_elsewhere(said, receipt):
                yield shown
            if not problem.words:
                if said:  # else the model has chosen silence
                    self._file(self._heard(asked, receipt), _answer(said, ""), receipt)
                return
            for step in unended(said):
                said.append(replace(step, state="failed", output=STEP_STOPPED))
                yield said[-1]
            # stored before `conclude`: a repeated agent would take the concluded turn for its own answer
            status = {"ending_status": problem.status} if problem.status else {}
            await receipt.save(ending=problem.words, **status, **pack_parts(said))
        ending: str = receipt.state["ending"]
        # idempotent, so it may run again after a crash
        concluded = await self.agent.conclude(self._heard(asked, receipt), _answer(said, ending))
        shown_ids = {each.id for each in said if isinstance(each, Question)}
        closed = [
            inert(each) for each in concluded if not (isinstance(each, Question) and each.id in shown_ids)
        ]
        for part in closed:
            yield part
        async for shown in self._show_elsewhere(closed, receipt):
            yield shown
        yield Notice(ending, receipt.state.get("ending_status"))

    def _file(self, turn: Turn, answer: str, receipt: Receipt) -> None:
        if self.memory and not turn.regenerates:  # it has no question of its own
            receipt.filing = self.memory.filing(turn, answer)

    async def _find_filing(self, turn: Turn, receipt: Receipt) -> None:
        """File a complete answer of an earlier attempt, whose parts a finished reply does not read again."""
        is_read = receipt.filing or turn.attempt == 1 or "ending" in receipt.state or turn.regenerates
        if self.memory and turn.messages and not is_read:
            answer = await self.agent.find_answer(turn)
            if answer is not None:
                self._file(turn, harmless(answer), receipt)

    async def _show_elsewhere(self, parts: Iterable[Part], receipt: Receipt) -> AsyncIterator[Notice]:
        """Show the answer's requests to approvers elsewhere, and update those that were decided.

        This comes after the answer, because the time limit of the answer could interrupt it.
        """
        if self.approval_display is None:
            return
        for request in [each for each in parts if isinstance(each, Approval | Question)]:
            if request.state != "asked":
                await self.approval_display.settle(request, receipt)
            elif isinstance(request, Approval) and (
                words := await self.approval_display.show(request, receipt)
            ):
                yield Notice(words)

    async def _admissions(self, turn: Turn, receipt: Receipt) -> dict[str, Notice | Ignore]:
        """Return the messages that the agent does not answer, by id, the same on every attempt.

        The receipt stores a text for each of them, empty for an ignored one. Messages are not checked again
        once the reply has begun: a refusal then would not end the answer.
        """
        if "received" not in receipt.state:
            if receipt.state.keys() - {"ending"}:  # only `ending`: a turn that was given up
                return {}
            received = {message.id: await self._receive(message) for message in turn.messages}
            kept = {id: each for id, each in received.items() if each is not None}
            if not kept:
                return {}
            texts = {id: each.text if isinstance(each, Notice) else "" for id, each in kept.items()}
            await receipt.save(received=texts)
        return {id: Notice(text) if text else Ignore() for id, text in receipt.state["received"].items()}

    async def _receive(self, message: Message) -> Notice | Ignore | None:
        """Check a message and run the command in it; return None if the agent has to answer it.

        A refused user cannot run commands, and a command counts as a message.
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

    async def _answer_parts(
        self, turn: Turn, receipt: Receipt, halt: Halt, problem: "_Problem"
    ) -> AsyncGenerator[Part]:
        """Yield the agent's parts; set `problem` if something ends them early."""
        try:
            async with _until(halt, self.limit):
                for words in await self._hear(turn, receipt):
                    yield Notice(words)
                heard = self._heard(turn, receipt)
                async with aclosing(_generator(self.agent.answer(heard))) as parts:
                    async for part in parts:
                        yield part
        except (PlatformError, StorageDown, LeaseLost):
            raise
        except AnswerError as error:
            log.warning("no answer", extra={"error": str(error)})
            problem.words, problem.status = harmless(str(error)), error.status
        except _HaltSignal:
            if halt.done():
                problem.words = halt.result()
            else:
                problem.words, problem.status = too_long(self.limit), 504
            log.info("turn ended early", extra={"ending": problem.words})
        except Exception:  # the outermost boundary of a turn: the user gets a sentence, the log the trace
            log.exception("turn failed", extra={"reference": turn.reference})
            problem.words, problem.status = turn_failed(turn.reference), 500

    async def _hear(self, turn: Turn, receipt: Receipt) -> Sequence[str]:
        """Store the transcripts of a turn's recordings in the receipt; return notices about them."""
        if self.recordings and _HEARD not in receipt.state:
            transcripts = await self.recordings.transcribe(turn)
            if transcripts:
                await receipt.save(**{_HEARD: asdict(transcripts)})
        notices: Sequence[str] = receipt.state.get(_HEARD, {}).get("notices", ())
        return notices

    def _heard(self, turn: Turn, receipt: Receipt) -> Turn:
        """Return the turn with the transcripts that the receipt has."""
        stored = receipt.state.get(_HEARD)
        return self.recordings.insert(turn, Transcripts(**stored)) if self.recordings and stored else turn


@dataclass(slots=True)
class _Problem:
    """Early end of an answer: its sentence, and an HTTP status if it failed rather than was stopped."""

    words: str = ""
    status: int | None = None


class _HaltSignal(Exception):
    """Signal that the turn has to end now."""


@asynccontextmanager
async def _until(halt: Halt, seconds: float) -> AsyncIterator[None]:
    """Run the body until `halt` is done or `seconds` have passed; then cancel it and raise `_HaltSignal`.

    A `TimeoutError` of the body passes through. The task that entered is cancelled, so the parts must be read
    in one task that does nothing else.
    """
    loop = asyncio.get_running_loop()
    if halt.done():
        raise _HaltSignal
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
                has_ended = True  # the callback may be scheduled already
                halt.remove_done_callback(end)
    except TimeoutError:
        if limit.expired():
            raise _HaltSignal from None
        raise


def _asked(turn: Turn, received: Mapping[str, Notice | Ignore]) -> Turn:
    """Return the turn with the messages that the agent answers."""
    return replace(turn, messages=tuple(each for each in turn.messages if each.id not in received))


def _answer(parts: Iterable[Part], ending: str) -> str:
    """Return the text of the whole answer, as the memory stores it."""
    texts = [part.text for part in parts if isinstance(part, Text)]
    return "".join([*texts, "\n\n", ending]).strip()


async def _harmless(parts: AsyncGenerator[Part]) -> AsyncGenerator[Part]:
    """Yield the parts of an answer, changed so that none can imitate an approval request."""
    text = Harmless()
    async with aclosing(parts):
        async for part in parts:
            shown = text.feed(part.text) if isinstance(part, Text) else text.rest()
            if shown:
                yield Text(shown)
            if not isinstance(part, Text | AnswerButtons):
                yield inert(part)
    if shown := text.rest():
        yield Text(shown)


def _generator(parts: AsyncIterator[Part]) -> AsyncGenerator[Part]:
    return cast("AsyncGenerator[Part]", parts)
