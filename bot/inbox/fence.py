"""Redis client whose writes are fenced: they succeed only while the current turn holds its lease.

A cancelled turn may still write (langgraph's saver does so on purpose), and a process that was suspended for
longer than its lease does not know that it lost it. So each write, and each pipeline with one, runs as a
script that checks the lease first. Writes outside of a turn are not fenced.
"""

import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from bot.chat import LeaseLost, Receipt
from bot.inbox import keys, scripts

log = logging.getLogger(__name__)

_READS = frozenset(
    (
        *("EXISTS", "GET", "HGET", "HGETALL", "HMGET", "INFO", "MGET", "MODULE"),
        *("PING", "SCAN", "TTL", "TYPE"),
        *("FT._LIST", "FT.AGGREGATE", "FT.INFO", "FT.SEARCH", "JSON.GET", "JSON.MGET"),
        *("XRANGE", "ZCARD", "ZRANGE", "ZSCORE"),
    )
)
"""Commands that change nothing. All others are fenced, even unknown reads, so that no write is missed."""


Command = tuple[Sequence[Any], Mapping[str, Any]]
"""Arguments of a command, and redis-py's options for its reply."""


@dataclass(frozen=True, slots=True)
class Increase:
    """Numbers to add to the fields of a hash; a field that is new sets the expiry time of the hash."""

    script: AsyncScript
    key: str
    args: Sequence[Any]
    """The expiry time in seconds; then each field with its number."""

    @property
    def command(self) -> list[Any]:
        """Return what stands for this in the commands of the script FENCED."""
        return [len(self.args) + 2, "INCREASE", self.key, *self.args]

    async def make(self) -> None:
        """Add the numbers, in a step of its own."""
        await self.script(keys=[self.key], args=self.args)


@dataclass(frozen=True, slots=True)
class FencingToken:
    """Lease that a write must hold: stream, consumer and entry id.

    What was noted in `receipt` is stored in the same step as the write, and so are the `increases`. `read`
    has values from the step that began the turn: nobody else writes them while it holds the lease.
    """

    ready: str
    consumer: str
    lease: str
    receipt: Receipt | None = None
    read: dict[str, bytes | None] = field(default_factory=dict)
    increases: list[Increase] = field(default_factory=list)

    def take_read(self, command: Sequence[Any]) -> list[bytes | None] | None:
        """Return the reply to a command if it was read before, each value only once; else None."""
        name, *wanted = command
        if name != "MGET" or not self.read.keys() >= set(wanted):
            return None
        return [self.read.pop(key) for key in wanted]

    @contextmanager
    def take_increases(self) -> Iterator[Sequence[Increase]]:
        """Yield the increases for the body to make; after an error they wait for the next write.

        After a cancellation they do not: Redis runs a script that has been sent, and nothing may count twice.
        """
        taken = self.increases.copy()
        self.increases.clear()
        try:
            yield taken
        except Exception:  # raised again; after any error of the write, nothing of this was counted
            self.increases.extend(taken)
            raise


_current: ContextVar[FencingToken | None] = ContextVar("fence", default=None)


@contextmanager
def use_fence(fence: FencingToken) -> Iterator[None]:
    """Fence the writes of this task and of the tasks that it starts."""
    token = _current.set(fence)
    try:
        yield
    finally:
        _current.reset(token)


@asynccontextmanager
async def fence_turn(fence: FencingToken) -> AsyncIterator[None]:
    """Fence the writes of a turn; at its end, make the increases that no write has made.

    These count what has been used, so they are made even if the lease is lost.
    """
    try:
        with use_fence(fence):
            yield
    finally:
        try:
            for each in fence.increases:
                await each.make()
        except (RedisError, OSError) as error:
            log.warning("usage not counted", extra={"key": each.key, "error": repr(error)})


class FencedRedis(Redis):
    """Redis client that raises `LeaseLost` instead of writing once the current turn's lease is lost."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(connection_pool=redis.connection_pool)
        self._fenced = redis.register_script(scripts.FENCED)
        self._increase = redis.register_script(scripts.INCREASE)

    async def increase(self, key: str, numbers: Mapping[str, int], ttl_seconds: int) -> None:
        """Add numbers to the fields of a hash: at the next write of the turn, or without one at its end.

        Outside of a turn they are added at once. The hash expires `ttl_seconds` after it got a new field.
        """
        pairs = [value for pair in numbers.items() for value in pair]
        increase = Increase(self._increase, key, [ttl_seconds, *pairs])
        if fence := _current.get():
            fence.increases.append(increase)
        else:
            await increase.make()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command. Raises `LeaseLost`."""
        fence = _current.get()
        if fence is None or not _is_write(args):
            if fence and (read := fence.take_read(args)):
                return read
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        (reply,) = await self.run(fence, [(args, options)])
        if isinstance(reply, RedisError):
            raise reply
        return reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "_FencedPipeline":
        """Return a pipeline; with a write in it, it runs as one atomic step."""
        return _FencedPipeline(self, transaction, shard_hint)

    async def run(
        self, fence: FencingToken, commands: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]
    ) -> list[Any]:
        """Run commands behind `fence`; the reply of a failed command is its exception. Raises `LeaseLost`."""
        flat: list[Any] = [fence.consumer, fence.lease]
        for args, _ in commands:
            flat += [len(args), *args]
        replies = await self._run(fence, flat)
        return [self._parse(reply, *each) for reply, each in zip(replies, commands, strict=True)]

    async def _run(self, fence: FencingToken, flat: list[Any]) -> list[Any]:
        """Run commands, and store what was noted; return the replies to the commands."""
        fence.read.clear()  # it may be older than what is written now
        receipt = fence.receipt if fence.receipt and fence.receipt.is_behind else None
        async with receipt.take_notes() if receipt else nullcontext() as noted:
            if receipt and noted is not None:
                flat = [*flat, 4, "HSET", keys.turn(receipt.turn.id), "receipt", json.dumps(noted)]
            with fence.take_increases() as increases:
                added = [value for each in increases for value in each.command]
                replies: list[Any] | None = await self._fenced(keys=[fence.ready], args=[*flat, *added])
                if replies is None:
                    raise LeaseLost(fence.lease)
        for each in reversed(increases):
            if isinstance(replies.pop(), RedisError):
                fence.increases.append(each)
        if receipt and noted is not None and isinstance(replies.pop(), RedisError):
            receipt.note()  # the next write tries again
        return replies

    def _parse(self, reply: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        callback = self.response_callbacks.get(args[0])
        return reply if callback is None or isinstance(reply, RedisError) else callback(reply, **options)


class _FencedPipeline(Pipeline):
    def __init__(self, redis: FencedRedis, transaction: bool, shard_hint: str | None) -> None:
        super().__init__(redis.connection_pool, redis.response_callbacks, transaction, shard_hint)
        self._redis = redis

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        fence = _current.get()
        if fence is None or not any(_is_write(args) for args, _ in self.command_stack):
            return await super().execute(raise_on_error)
        commands, self.command_stack = self.command_stack, []
        replies = await self._redis.run(fence, commands)
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, RedisError):
                    raise reply
        return replies


def _is_write(args: Sequence[Any]) -> bool:
    return str(args[0]).upper() not in _READS
