"""Time limit for one part of an answer: if Discord keeps failing at it, the rest continues without it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.chat import Json, Receipt, Unreachable
from bot.discord.errors import GivenUp


class PartTimeout:
    """Times since which each part of an answer has failed, over all attempts at a turn.

    Each message is a separate part: others may succeed at every attempt.
    Key of the receipt: `failing`, the Unix seconds of the first failure since the last success, by part.
    """

    def __init__(self, receipt: Receipt, seconds: float) -> None:
        self._receipt = receipt
        self._seconds = seconds

    @asynccontextmanager
    async def limit(self, name: str) -> AsyncIterator[None]:
        """Raise `GivenUp` instead of `Unreachable` after the body has failed for too long."""
        failing: dict[str, Json] = self._receipt.state.get("failing", {})
        try:
            yield
        except Unreachable as error:
            if name not in failing:
                await self._receipt.save(failing={**failing, name: time.time()})
                raise
            if time.time() - failing[name] < self._seconds:
                raise
            raise GivenUp(f"Discord has failed at this for too long: {error}") from error
        if name in failing:
            others = {part: since for part, since in failing.items() if part != name}
            await self._receipt.save(failing=others)
