"""Course of a trial in two halves, in which the bot is killed once at most, at a step of either half."""

from collections.abc import Awaitable, Callable

from bot.inbox import admin
from tests.crash.bot import Bot
from tests.crash.scenes import TIMEOUT, Scene
from tests.crash.trial import Lane
from tests.crash.watch import Watch
from tests.support.wait import wait_until


class KilledOnce:
    """Bot that a user talks to in a scene; it is killed at the step `end`, if that comes.

    `second_end` is a step of the second half; by default the same step ends either half.
    """

    bot: Bot

    def __init__(self, lane: Lane, scene: Scene, end: str, second_end: str | None = None) -> None:
        self._lane = lane
        self._scene = scene
        self._end = end
        self._second_end = end if second_end is None else second_end
        self.watch = Watch(self._die)
        self.was_killed = False

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
