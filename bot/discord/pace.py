"""When a message may be edited again."""

import asyncio

INTERVAL = 1.2
"""Seconds between two edits in a channel: Discord takes about five in five seconds, and sends count extra."""


class Pace:
    """Hands out the times of edits, one for each channel every `INTERVAL` seconds."""

    def __init__(self) -> None:
        self._free_at: dict[int, float] = {}

    async def turn(self, channel: int) -> None:
        """Wait for the next time at which this channel may see an edit."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._free_at.get(channel, now))
        self._free_at = {each: free for each, free in self._free_at.items() if free > now}
        self._free_at[channel] = at + INTERVAL
        await asyncio.sleep(at - now)
