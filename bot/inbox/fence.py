"""A Redis client whose writes reach Redis only while the turn that makes them holds its lease.

A cancelled turn may still write (langgraph's saver does so on purpose), and a process that was stopped for
longer than its lease does not know that it lost it. So each write, and each pipeline with one, runs as one
script that looks at the lease first. What is written outside of a turn is not held back.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from bot.chat import LeaseLost
from bot.inbox import scripts

_READS = frozenset(
    (
        *("EXISTS", "GET", "HGET", "HGETALL", "HMGET", "INFO", "MODULE", "PING", "SCAN", "TTL", "TYPE"),
        *("FT._LIST", "FT.AGGREGATE", "FT.INFO", "FT.SEARCH", "JSON.GET", "JSON.MGET"),
        *("XRANGE", "ZCARD", "ZRANGE", "ZSCORE"),
    )
)
"""Commands that change nothing. What is not named here is held back, be it a read: nothing slips through."""


Command = tuple[Sequence[Any], Mapping[str, Any]]
"""Its words, and the options for reading its reply; redis-py's form."""


@dataclass(frozen=True, slots=True)
class FencingToken:
    """What a write has to show: the stream, and who holds which of its entries."""

    ready: str
    consumer: str
    lease: str


_current: ContextVar[FencingToken | None] = ContextVar("fence", default=None)


@contextmanager
def use_fence(fence: FencingToken) -> Iterator[None]:
    """Hold back the writes of this task, and of those it starts, once the lease is lost."""
    token = _current.set(fence)
    try:
        yield
    finally:
        _current.reset(token)


class FencedRedis(Redis):
    """A `Redis` that raises `LeaseLost` instead of writing when the current turn's lease is lost."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(connection_pool=redis.connection_pool)
        self._guarded = redis.register_script(scripts.GUARDED)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command. Raises `LeaseLost`."""
        fence = _current.get()
        if fence is None or not _writes(args):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        (reply,) = await self.run(fence, [(args, options)])
        if isinstance(reply, RedisError):
            raise reply
        return reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "_FencedPipeline":
        """A pipeline; with a write in it, it is one atomic step."""
        return _FencedPipeline(self, transaction, shard_hint)

    async def run(
        self, fence: FencingToken, commands: Sequence[tuple[Sequence[Any], Mapping[str, Any]]]
    ) -> list[Any]:
        """Run commands behind `fence`; a reply is an exception where a command failed."""
        flat: list[Any] = [fence.consumer, fence.lease]
        for args, _ in commands:
            flat += [len(args), *args]
        replies = await self._guarded(keys=[fence.ready], args=flat)
        if replies is None:
            raise LeaseLost(fence.lease)
        return [self._parsed(reply, *each) for reply, each in zip(replies, commands, strict=True)]

    def _parsed(self, reply: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        callback = self.response_callbacks.get(args[0])
        return reply if callback is None or isinstance(reply, RedisError) else callback(reply, **options)


class _FencedPipeline(Pipeline):
    def __init__(self, redis: FencedRedis, transaction: bool, shard_hint: str | None) -> None:
        super().__init__(redis.connection_pool, redis.response_callbacks, transaction, shard_hint)
        self._redis = redis

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        fence = _current.get()
        if fence is None or not any(_writes(args) for args, _ in self.command_stack):
            return await super().execute(raise_on_error)
        commands, self.command_stack = self.command_stack, []
        replies = await self._redis.run(fence, commands)
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, RedisError):
                    raise reply
        return replies


def _writes(args: Sequence[Any]) -> bool:
    return str(args[0]).upper() not in _READS
