"""Trials in two halves, in which the bot is killed once at most, at a step of either half."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TypeVar

from bot.inbox import admin
from tests.crash.bot import Bot
from tests.crash.scenes import TIMEOUT, Scene
from tests.crash.trial import Lane, environ_of
from tests.crash.watch import Watch
from tests.servers.model import ModelServer, model_server
from tests.support.wait import wait_until

_ENOUGH = 3
"""After so many faults the rest is not tried: one that waits in vain takes long."""

_Place = TypeVar("_Place")
_End = TypeVar("_End")


class KilledOnce(ABC):
    """Bot that a user talks to in a scene; it is killed at the step `end`, if that comes.

    `second_end` is a step of the second half; by default the same step ends either half.
    """

    bot: Bot
    model: ModelServer

    def __init__(self, lane: Lane, scene: Scene, end: str, second_end: str | None = None) -> None:
        self._lane = lane
        self._scene = scene
        self._end = end
        self._second_end = end if second_end is None else second_end
        self.watch = Watch(self._die)
        self.was_killed = False

    @abstractmethod
    async def _prepare(self) -> Mapping[str, str]:
        """Tell the model what to answer; return further variables of the bot."""

    @abstractmethod
    async def _play(self) -> None:
        """Play both halves."""

    @abstractmethod
    async def _faults(self) -> list[str]:
        """Return what is wrong in the end, beside the violations of rules and the errors in the log."""

    async def run(self) -> list[str]:
        """Play, and return what is wrong in the end."""
        await self._lane.redis.flushall()
        log = self._lane.directory / "bot.log"
        log.unlink(missing_ok=True)
        async with AsyncExitStack() as stack:
            self.model = await stack.enter_async_context(model_server())
            await stack.enter_async_context(self._scene)
            more = await self._prepare()
            self.bot = Bot({**environ_of(self._lane, self._scene, self.model), **more}, log)
            stack.callback(self.bot.kill)
            self.model.steps = self.watch.over("model")
            self._lane.proxy.steps = self.watch.over("redis")
            self._scene.observe(self.watch)
            try:
                await self._play()
                faults = [*self.model.violations, *await self._scene.faults(self.bot)]
                faults += [str(each) for each in self.bot.log if each["level"] in ("error", "critical")]
                return faults + await self._faults()
            except AssertionError as error:
                return [str(error), *log.read_text().splitlines()[-20:]]

    def _die(self) -> None:
        self.was_killed = True
        self.bot.kill()
        self._lane.proxy.drop()
        self._scene.on_kill()

    @property
    def _ends(self) -> str:
        return f"the end {self._end!r} or {self._second_end!r}"

    async def begin(self) -> None:
        """Start the bot, and the first half."""
        self.bot.start()
        await self._scene.listens(self.bot, self._lane.redis)
        self.watch.begin(self._end)

    def begin_second_half(self) -> None:
        """Start to count the steps again; the end may be among them, unless it has come already."""
        self.watch.begin(self._second_end if not self.watch.ended else "")

    def steps(self) -> list[str]:
        """Stop recording, and return the steps of this half."""
        self.watch.rest()
        return self.watch.lives[-1]

    async def until(self, holds: Callable[[], bool], again: Callable[[], Awaitable[None]]) -> None:
        """Wait until all is done, over a kill, after which a person does something `again`."""

        async def is_over() -> bool:
            return holds() and await admin.list_messages(self._lane.redis) == "The inbox is empty."

        before = self.watch.ended
        await wait_until(lambda: _either(self.watch.ended and not before, is_over), self._ends, TIMEOUT)
        if self.watch.ended and not before:
            self.watch.begin("")
            self.watch.ended = True  # there is no second kill
            self.bot.start()
            await self._scene.listens(self.bot, self._lane.redis)
            await again()
            await wait_until(is_over, f"all is done, with {self._ends}", TIMEOUT)


async def _either(one: bool, other: Callable[[], Awaitable[bool]]) -> bool:
    return one or await other()


async def kill_at_each(
    ends: Sequence[_End], places: Sequence[_Place], trial: Callable[[_Place, _End], KilledOnce]
) -> None:
    """Run a trial for each end, as many at once as there are places. Raises `AssertionError`."""
    problems: list[str] = []
    killed = 0
    waiting = iter(ends)

    async def run(place: _Place) -> None:
        nonlocal killed
        for end in waiting:
            if len(problems) > _ENOUGH:
                return
            played = trial(place, end)
            problems.extend(f"{end}: {fault}" for fault in await played.run())
            killed += played.was_killed

    async with asyncio.TaskGroup() as group:
        for place in places:
            group.create_task(run(place))
    assert not problems, "\n".join(problems)
    assert killed > len(ends) / 2  # the order of concurrent steps varies
