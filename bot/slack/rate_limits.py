"""Rate limits of Slack, shared by all processes of the bot.

Slack counts the calls of a method in a workspace per minute, and also the posts in a channel:
https://docs.slack.dev/apis/web-api/rate-limits
"""

import asyncio
import math
from collections.abc import Mapping

from bot.chat import Coordination, RateLimited

END_SESSION = "agents.sessions.setStatus (end)"
"""Name for calls of that method that end a session, which are counted separately."""

PER_MINUTE: Mapping[str, int] = {
    # of 50 together; an attempt after a crash and a stop also end a session
    "agents.sessions.setStatus": 16,
    END_SESSION: 30,
    "chat.appendStream": 90,  # of 100
    "chat.delete": 45,  # of 50
    "chat.postMessage": 55,  # of about one a second in a channel
    "chat.startStream": 18,  # of 20
    "chat.stopStream": 18,
    "chat.update": 45,
    "conversations.history": 40,
    "conversations.replies": 40,
    "files.completeUploadExternal": 90,  # of 100
    "files.getUploadURLExternal": 90,
    "users.conversations": 18,
    "users.info": 90,
}
"""Calls per minute that the bot allows itself. `conversations.replies` also serves to find answers after a
crash, which is not counted: a turn does not wait for the reading of history."""

_IN_EACH_CHANNEL = frozenset({"chat.postMessage"})


class RateLimits:
    """Shares Slack's limits among all callers; `per_minute` are the calls of each method."""

    def __init__(self, coordination: Coordination, per_minute: Mapping[str, int] = PER_MINUTE) -> None:
        self._coordination = coordination
        self.per_minute = per_minute

    async def delay(self, team: str, method: str, channel: str = "") -> float:
        """Return the seconds until Slack accepts one more call; 0 counts it as made."""
        name = f"slack:{team}:{method}" + (f":{channel}" if method in _IN_EACH_CHANNEL else "")
        return await self._coordination.delay(name, self.per_minute[method])

    async def wait(self, team: str, method: str, channel: str = "", *, most: float = math.inf) -> None:
        """Wait until Slack accepts one more call, and count it as made.

        Raises `RateLimited` when that takes more than `most` seconds.
        """
        waited = 0.0
        while seconds := await self.delay(team, method, channel):
            waited += seconds
            if waited > most:
                raise RateLimited(f"Slack's rate limit of {method} is reached", seconds)
            await asyncio.sleep(seconds)
