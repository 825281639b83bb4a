"""An inbox, messages for it, and turns with them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from bot.chat import Halt, Message, Receipt, ThreadId, Turn
from bot.inbox import Inbox, Lookup, serve
from bot.inbox.lease import Begun, Lease, TurnStart
from tests.support.wait import wait_until


def a_message(text: str, thread: str = "t1", *, addressed: bool = True) -> Message:
    return Message(
        id=f"test:{thread}:{text}",
        thread=ThreadId("test", "space", thread),
        author="test:ada",
        text=text,
        sent_at=1.0,
        addressed=addressed,
        place={"ts": "1"},
    )


def an_inbox(redis: Redis, name: str = "one") -> Inbox:
    return Inbox(redis, name=name, follow_days=30)


async def begin(inbox: Inbox) -> tuple[Lease, TurnStart]:
    """Begin the next turn that is due."""
    await inbox.ensure_group()
    await inbox.wake()
    (lease,) = await inbox.lease(1, 1)
    begun = await inbox.begin(lease)
    assert begun
    return lease, begun


async def answer(inbox: Inbox) -> list[str]:
    """Run the next turn and return its texts."""
    lease, begun = await begin(inbox)
    await inbox.finish(lease, begun.turn)
    return [message.text for message in begun.turn.messages]


@dataclass(slots=True)
class Desk:
    """Implements `bot.inbox.lease.Desk` for one message: there is a place for its turn."""

    consumer: str
    lease: Lease | None = None
    begun: Begun | None = None
    is_reserved: bool = False

    def reserve(self, wish: Lease) -> bool:
        assert not self.is_reserved
        self.is_reserved = True
        return True

    async def settle(self, wish: Lease, lease: Lease | None = None, begun: Begun | None = None) -> None:
        assert self.is_reserved
        self.is_reserved, self.lease, self.begun = False, lease, begun


class Slow:
    """Turns that run until they are let go, in the order in which they began."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.turns: list[Turn] = []
        self.ended: list[str] = []
        self.attempts: dict[str, int] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self._is_open = False

    async def __call__(self, turn: Turn, receipt: Receipt, halt: Halt) -> None:
        name = turn.messages[0].text
        self.begun.append(name)
        self.turns.append(turn)
        self.attempts[name] = turn.attempt
        gate = self._gates.setdefault(name, asyncio.Event())
        if not self._is_open:
            await gate.wait()
        self.ended.append(name)

    @property
    def running(self) -> list[str]:
        return [each for each in self.begun if each not in self.ended]

    def has_begun(self, name: str) -> bool:
        """Return whether a turn with this text has begun."""
        return name in self.begun

    def end(self, name: str) -> None:
        """Let that turn end."""
        self._gates[name].set()

    def end_all(self) -> None:
        """Let all turns end, those that come as well."""
        self._is_open = True
        for gate in self._gates.values():
            gate.set()


@asynccontextmanager
async def serving(
    redis: Redis,
    inbox: Inbox,
    work: Slow,
    *,
    limit: int = 3,
    lease_seconds: float = 5.0,
    user_turns: int | None = None,
) -> AsyncIterator[asyncio.Event]:
    """A worker that waits for messages; it stops with the block, or when the event is set."""
    stop, before = asyncio.Event(), await _blocked_clients(redis)

    async def is_waiting() -> bool:
        return await _blocked_clients(redis) > before

    async with Lookup(redis).news("stop") as stops, asyncio.TaskGroup() as group:
        group.create_task(
            serve(
                inbox,
                work,
                limit=limit,
                lease_seconds=lease_seconds,
                grace=5,
                stop=stop,
                stops=stops,
                user_turns=user_turns,
            )
        )
        await wait_until(is_waiting, "the worker waits for messages")
        try:
            yield stop
        finally:
            work.end_all()
            stop.set()


async def _blocked_clients(redis: Redis) -> int:
    return int((await redis.info("clients"))["blocked_clients"])
