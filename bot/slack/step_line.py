"""Line below a thread that names the running tools, where no stream shows cards for them."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from bot.chat import LeaseLost, Receipt, StorageDown, ThreadId
from bot.concurrency.tasks import cancel
from bot.slack.status import Status
from bot.slack.texts import THINKING, working
from bot.slack.timing import Timing


class StepLine:
    """Line of one reply. Leaving the context clears it, unless another attempt continues."""

    def __init__(self, status: Status, thread: ThreadId, receipt: Receipt, timing: Timing) -> None:
        self._status = status
        self._thread = thread
        self._receipt = receipt
        self._timing = timing
        self._activity = ""
        self._shown = ""
        self._was_shown = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            await cancel(self._task)
        if self._was_shown and error is None:
            await self._receipt.check()
            await self._status.show_line(self._thread, "")

    def name(self, activity: str) -> None:
        """Name what the running tools do, or nothing. A text without tools costs no task and no call."""
        if activity != self._activity:
            self._activity = activity
            self._changed.set()
            self._task = self._task or asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.line_max_age if self._shown else None):
                    await self._changed.wait()
            if self._changed.is_set():
                self._changed.clear()
                await asyncio.sleep(self._timing.step_delay)
                if self._activity == self._shown:
                    continue
            try:
                await self._receipt.check()
            except (LeaseLost, StorageDown):
                return  # whatever is shown next raises it
            self._shown, self._was_shown = self._activity, True
            await self._status.show_line(self._thread, working(self._shown) if self._shown else THINKING)
