"""Writing requests of one reply: they need the lease, respect Slack's limits, and end in time."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping

from bot.chat import Json, PlatformError, RateLimited, Receipt, ThreadId, Unreachable
from bot.platforms.request_guard import hold_requests
from bot.slack.api import SlackApi
from bot.slack.errors import GivenUp
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing

log = logging.getLogger(__name__)


class Writer:
    """Writer for one thread. All methods raise `PlatformError`.

    Key of the receipt: `failing`, when each part (such as the `ts` of a message) first failed, in Unix
    seconds. A part that fails for `Timing.part_timeout` while Slack otherwise answers is `GivenUp`; an outage
    of all of Slack does not count, since it passes.
    """

    def __init__(
        self, api: SlackApi, limits: RateLimits, thread: ThreadId, receipt: Receipt, timing: Timing
    ) -> None:
        self._api = api
        self._limits = limits
        self._thread = thread
        self._receipt = receipt
        self._timing = timing

    def has_failed(self, method: str) -> bool:
        """Return whether an earlier request of this kind has failed while Slack otherwise answered."""
        return any(part.partition(" ")[0] == method for part in self._failing)

    @property
    def _failing(self) -> dict[str, float]:
        return dict(self._receipt.state.get("failing") or {})

    @contextlib.asynccontextmanager
    async def limit(self, method: str, part: str) -> AsyncIterator[None]:
        """Raise `GivenUp` instead of `Unreachable` when this part has failed for too long."""
        try:
            yield
        except Unreachable as error:
            name, failing = f"{method} {part}", self._failing
            if not await self._answers():
                if failing:
                    await self._receipt.save(failing={})
                raise
            since = failing.setdefault(name, time.time())
            if time.time() - since >= self._timing.part_timeout:
                log.warning("part given up", extra={"part": name, "error": str(error)})
                raise GivenUp(method) from error
            await self._receipt.save(failing=failing)
            raise

    async def _answers(self) -> bool:
        """Return whether Slack answers a request that is unrelated to the part."""
        try:
            await self._api.identify()
        except PlatformError:
            return False
        return True

    async def room(self, method: str) -> None:
        """Wait until Slack accepts one more call. Raises `RateLimited` when that takes too long."""
        thread, most = self._thread, self._timing.longest_rate_limit
        await self._limits.wait(thread.space, method, thread.channel, most=most, is_urgent=True)

    async def write(self, method: str, part: str, **arguments: Json) -> Mapping[str, Json]:
        """Call a method, and repeat it after a short rate limit."""
        waited = 0.0
        while True:
            try:
                return await self.write_once(method, part, **arguments)
            except RateLimited as error:  # nothing was done
                waited += error.retry_after
                if waited > self._timing.longest_rate_limit:
                    raise
                log.info("request rate-limited", extra={"method": method, "seconds": error.retry_after})
                await asyncio.sleep(error.retry_after)

    async def write_once(self, method: str, part: str, **arguments: Json) -> Mapping[str, Json]:
        """Call a method. Raises `RateLimited` at once when Slack limits it."""
        await self._receipt.hold()
        async with self.limit(method, part):
            request = asyncio.create_task(self._write(method, arguments))
            try:
                return await asyncio.shield(request)
            except asyncio.CancelledError:
                await asyncio.wait([request], timeout=self._timing.request_grace)
                if not request.cancel():
                    request.exception()  # retrieved: asyncio logs exceptions that are never retrieved
                raise

    async def _write(self, method: str, arguments: Mapping[str, Json]) -> Mapping[str, Json]:
        """Call a method in a task of its own, while the turn holds its lease."""
        hold_requests(self._receipt.check)
        return await self._api.write(method, **arguments)
