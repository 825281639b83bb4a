"""One turn with an agent, a store and a thread in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bot.chat import (
    Admit,
    Halt,
    Ignore,
    Json,
    Message,
    Notice,
    Part,
    Receipt,
    Refuse,
    Thread,
    ThreadId,
    ToolStep,
    Turn,
)
from bot.turn import Turns
from tests.support.agents import Answer, FunctionAgent

THREAD = ThreadId("test", "space", "channel")
STEP = ToolStep(id="1", name="sql_query", state="started", title="Query")


def a_message(text: str = "hi", author: str = "test:ada") -> Message:
    """Return a message of somebody."""
    return Message(id=text, thread=THREAD, author=author, text=text, sent_at=0, addressed=True)


TURN = Turn(id="turn-1", thread=THREAD, messages=(a_message(),))


@dataclass
class RecordingThread:
    """Place that keeps what it was given; it stops early, or fails, after `limit` parts."""

    limit: int | None = None
    failure: Exception | None = None
    parts: list[Part] = field(default_factory=list)

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Keep the parts."""
        async for part in parts:
            self.parts.append(part)
            if len(self.parts) == self.limit:
                break
        if self.failure:
            raise self.failure


class Agent:
    """Agent that gives its parts, then fails if told so; it counts its runs and notes when it is closed."""

    def __init__(self, *parts: Part, error: BaseException | None = None) -> None:
        self._parts = parts
        self._error = error
        self.runs = 0
        self.closed = False

    async def answer(self, turn: Turn) -> AsyncIterator[Part]:
        """Yield the parts."""
        self.runs += 1
        try:
            for part in self._parts:
                yield part
            if self._error:
                raise self._error
        finally:
            self.closed = True


class Store:
    """Store of the receipt's last state, like the inbox."""

    def __init__(self, error: Exception | None = None) -> None:
        self.state: dict[str, Json] = {}
        self._error = error

    async def keep(self, state: Mapping[str, Json]) -> None:
        """Keep the state, or fail."""
        if self._error:
            raise self._error
        self.state = dict(state)

    def receipt(self, turn: Turn = TURN) -> Receipt:
        """Return a receipt that keeps its state here."""
        return Receipt(turn, self.keep, dict(self.state))


Check = Callable[[Message], Awaitable[Admit | Refuse | Ignore]]


async def allow(message: Message) -> Admit:
    """Admit everybody."""
    return Admit()


class FunctionAdmission:
    """Implementation of `bot.chat.Admission` with a function."""

    def __init__(self, check: Check) -> None:
        self._check = check

    async def check(self, message: Message) -> Admit | Refuse | Ignore:
        """Apply the function."""
        return await self._check(message)


def a_halt(words: str = "") -> Halt:
    """Return a halt; it is done if there are words to end with."""
    halt: Halt = asyncio.get_running_loop().create_future()
    if words:
        halt.set_result(words)
    return halt


class Conclusions:
    """Record of what the agent's memory is told."""

    def __init__(self, outcome: str = "") -> None:
        self.texts: list[str] = []
        self.outcome = outcome

    async def conclude(self, turn: Turn, answer: str) -> Sequence[Part]:
        """Record the answer of a turn."""
        self.texts.append(answer)
        return [Notice(self.outcome)] if self.outcome else []


def some_turns(
    answer: Answer,
    find: Callable[[ThreadId], Thread],
    check: Check = allow,
    conclusions: Conclusions | None = None,
    limit: float = 60,
) -> Turns:
    """Return turns with an agent and these collaborators."""
    agent = FunctionAgent(answer, (conclusions or Conclusions()).conclude)
    return Turns(agent, find, FunctionAdmission(check), limit)


async def run_turn(
    answer: Answer,
    *,
    thread: RecordingThread | None = None,
    store: Store | None = None,
    turn: Turn = TURN,
    check: Check = allow,
    halt: Halt | None = None,
    conclusions: Conclusions | None = None,
    limit: float = 60,
) -> Sequence[Part]:
    """Take one turn, and return what was shown."""
    shown = thread or RecordingThread()
    find: Callable[[ThreadId], Thread] = {THREAD: shown}.__getitem__
    turns = some_turns(answer, find, check, conclusions, limit)
    await turns.run(turn, (store or Store()).receipt(turn), halt or a_halt())
    return shown.parts
