"""Observer of a turn's steps that kills the bot at one of them."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from tests.servers.steps import Steps


class Watch:
    """Recorder of steps as `<server>: <what> #<number>`, which calls `kill` when a life reaches its end.

    A life ends `before` a step, which is then not taken, or `after` it, before the bot receives the response.
    All servers run in one event loop and `kill` returns when the bot is dead, so nothing happens in between.
    """

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self._is_on = False
        self._end = ""
        self._counts: Counter[str] = Counter()
        self._is_taken: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.ended = False
        self.lives: list[list[str]] = []
        """Steps that were taken, by life."""

    def begin(self, end: str = "") -> None:
        """Start to count the steps of a new life, which ends at `end`."""
        self._counts.clear()
        self._is_on, self._end, self.ended = True, end, False
        self.lives.append([])

    def rest(self) -> None:
        """Stop recording: later steps do not belong to the turn."""
        self._is_on = False

    def step_event(self, step: str) -> asyncio.Event:
        """Return an event that is set once the step was taken."""
        return self._is_taken[step]

    def over(self, server: str, is_read: Callable[[str], bool] = lambda _: False) -> Steps:
        """Return an observer for a server's steps that ignores those that change nothing."""

        def steps(name: str) -> AbstractAsyncContextManager[None]:
            if not self._is_on or is_read(name):
                return nullcontext()
            return self._step(f"{server}: {name}")

        return steps

    @asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[None]:
        self._counts[name] += 1
        step = f"{name} #{self._counts[name]}"
        self._reach(f"before {step}")
        yield
        self.lives[-1].append(step)
        self._is_taken[step].set()
        self._reach(f"after {step}")

    def _reach(self, point: str) -> None:
        if point != self._end or self.ended:
            return
        self.ended = True
        self._kill()
        raise asyncio.CancelledError(point)  # as for a request whose client has gone
