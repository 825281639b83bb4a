"""Machine with the real inbox and its model: the state that the rules of `test_inbox_model` work on."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import wraps
from itertools import count
from typing import Any, ClassVar, Concatenate, ParamSpec

from hypothesis.stateful import RuleBasedStateMachine

from bot.chat import ChannelSettings, FollowUp, Message, Turn
from bot.inbox import FencedRedis, Inbox
from bot.inbox.lease import Lease
from bot.storage.client import open_redis
from tests.support.inbox_events import ADMIN
from tests.support.inbox_model import Entry, Model


class Admins:
    """Implements `bot.chat.StopPolicy`."""

    async def can_stop(self, author: str, thread: str) -> bool:
        return author == ADMIN


@dataclass(slots=True)
class Policy:
    """Implements `bot.chat.Channels` with one policy, which can change."""

    follow_up: FollowUp = "partner"

    def settings_of(self, message: Message) -> ChannelSettings:
        return ChannelSettings(follow_up=self.follow_up)


@dataclass(frozen=True, slots=True)
class Worker:
    """One start of a process."""

    name: str
    start: int
    inbox: Inbox

    def __repr__(self) -> str:
        return self.id

    @property
    def id(self) -> str:
        """Return its name in the model, which is its consumer group."""
        return f"{self.name}.{self.start}"


@dataclass(slots=True, eq=False)
class Claim:
    """A worker's belief that it has a lease, and the turn that it began with it."""

    worker: Worker
    lease: Lease
    entry: Entry
    turn: Turn | None = None

    def __repr__(self) -> str:
        return f"{self.worker} on {self.lease.thread}, turn {self.turn and self.turn.id}"

    @property
    def begun(self) -> Turn:
        """Return the turn that was begun."""
        assert self.turn is not None
        return self.turn


Drawn = ParamSpec("Drawn")
Step = Callable[Concatenate[Any, Drawn], Coroutine[Any, Any, None]]


def sync(step: Step[Drawn]) -> Callable[Concatenate[Any, Drawn], None]:
    """Hypothesis knows no coroutines: run the step in the machine's own event loop."""

    @wraps(step)
    def run(machine: "Machine", /, *args: Drawn.args, **drawn: Drawn.kwargs) -> None:
        machine.run(step(machine, *args, **drawn))

    return run


class Machine(RuleBasedStateMachine):
    """Both inboxes, and what each worker believes about its leases; without rules."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(overruler=ADMIN)
        self.workers: list[Worker] = []
        self.claims: list[Claim] = []
        self.settled: dict[str, list[str]] = defaultdict(list)
        self.moments = count(1)
        self.failed = False
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.stack = AsyncExitStack()
        self.run(self.open())

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            self.runner.get_loop().run_until_complete(step)  # the runner's own `run` minds signals each time
        except BaseException:  # passed on; after it `teardown` has nothing sound to check
            self.failed = True
            raise

    async def open(self) -> None:
        self.redis = await self.stack.enter_async_context(open_redis(self.url, pool_size=2))
        await self.redis.flushall()
        self.fenced = FencedRedis(self.redis)
        self.policy = Policy()
        self.door = Inbox(self.redis, name="door", follow_days=30, stop_policy=Admins(), channels=self.policy)

    def holders(self) -> list[Worker]:
        return [worker for worker in self.workers if self.model.leases_of(worker.id)]

    def live(self) -> list[Claim]:
        """The claims that are true."""
        return [
            claim
            for claim in self.claims
            if claim.entry in self.model.ready and claim.entry.holder == claim.worker.id
        ]

    def running(self) -> list[Claim]:
        return [claim for claim in self.live() if claim.turn]

    def to_begin(self) -> list[Claim]:
        return [claim for claim in self.live() if not claim.turn]

    def ghosts(self) -> list[Claim]:
        return [claim for claim in self.claims if claim.turn and claim not in self.live()]

    async def delete_in_a_pipeline(self, key: str) -> None:
        async with self.fenced.pipeline() as pipe:
            pipe.get(key)
            pipe.delete(key)
            await pipe.execute()

    async def dump(self) -> dict[bytes, bytes | None]:
        return {key: await self.redis.dump(key) async for key in self.redis.scan_iter()}
