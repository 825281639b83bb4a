"""Which of several processes listens: one session at the gateway hears everything."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from bot.chat import Shared, StorageDown, Unreachable
from bot.discord.events import PLATFORM

log = logging.getLogger(__name__)

LEASE = f"{PLATFORM}:gateway"
LEASE_SECONDS = 15.0
RENEW_SECONDS = 5.0

_RELEASE_SECONDS = 1.0


class Holder:
    """Holds the gateway for this process, or waits until nobody else does."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.standing_by = False

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Enter once the gateway is ours; it is free again afterwards."""
        try:
            await self._acquire()
            yield
        finally:
            self.standing_by = False
            with contextlib.suppress(StorageDown, TimeoutError):  # then it expires
                async with asyncio.timeout(_RELEASE_SECONDS):
                    await self._shared.release(LEASE)

    async def _acquire(self) -> None:
        while not await self._lease():
            if not self.standing_by:
                log.info("another process listens to Discord, standing by")
            self.standing_by = True
            await asyncio.sleep(RENEW_SECONDS)
        self.standing_by = False

    async def keep(self) -> None:
        """Renew the lease until cancelled. Raises `Unreachable` when another process has it."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if not await self._lease():
                raise Unreachable("another process listens to Discord now")

    async def _lease(self) -> bool:
        try:
            return await self._shared.lease(LEASE, LEASE_SECONDS)
        except StorageDown as error:  # nobody can take it either, and what comes is handed over later
            log.warning("the gateway's lease cannot be renewed", extra={"error": str(error)})
            return True
