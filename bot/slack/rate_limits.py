"""Rate limits of Slack, shared by all processes of the bot.

Slack counts the calls of a method in a workspace per minute, and also the posts in a channel:
https://docs.slack.dev/apis/web-api/rate-limits
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence

from bot.chat import Coordination, Permit, RateLimited

END_SESSION = "agents.sessions.setStatus (end)"
"""Name for calls of that method that end a session, which are counted separately."""

CLOSE_SESSION = "agents.sessions.setStatus (close)"
"""Name for calls that close the session of a forgotten thread, of which there may be hundreds at once."""

PER_MINUTE: Mapping[str, int] = {
    # of 50 together; an attempt after a crash and a stop also end a session
    "agents.sessions.setStatus": 16,
    END_SESSION: 30,
    CLOSE_SESSION: 4,
    "assistant.search.context": 9,  # of 10; large workspaces have more
    "assistant.threads.setSuggestedPrompts": 90,
    "chat.appendStream": 90,  # of 100
    "chat.delete": 45,  # of 50
    "chat.postMessage": 55,  # of about one a second in a channel
    "chat.startStream": 18,  # of 20
    "chat.stopStream": 18,
    "chat.update": 38,  # of 50; see `_RESERVED`
    "conversations.history": 40,
    "conversations.info": 45,
    "conversations.replies": 40,
    "files.completeUploadExternal": 90,  # of 100
    "files.getUploadURLExternal": 90,
    "usergroups.list": 18,
    "users.conversations": 18,
    "users.info": 60,
    "users.list": 18,
    "views.publish": 90,
}
"""Calls per minute that the bot allows itself."""

_RESERVED: Mapping[str, int] = {
    "chat.update": 8,
    "conversations.history": 8,
    "conversations.replies": 8,
    "users.info": 30,
}
"""Calls per minute in addition that are left to urgent callers, which do not wait for others but are counted
with them: turns that look for their answers after a crash do not wait for the reading of history, authors of
new messages, whose access depends on what Slack tells of them, do not wait for names in earlier ones, and
final texts do not wait for answers that grow by edits."""

_IN_EACH_CHANNEL = frozenset({"chat.postMessage"})

_SOON_AFTER: Mapping[str, tuple[str, ...]] = {
    "agents.sessions.setStatus": ("chat.startStream", "chat.stopStream"),
    "chat.startStream": ("chat.stopStream",),
}
"""Calls that soon follow another one, if the answer is short: one request to Redis counts them together."""


class RateLimits:
    """Shares Slack's limits among all callers; `per_minute` are the calls of each method.

    Permits for calls that soon follow are valid for `permit_seconds`, for any caller of this process. Those
    that nobody used by then are given back with the process's next request.
    """

    def __init__(
        self,
        coordination: Coordination,
        per_minute: Mapping[str, int] = PER_MINUTE,
        *,
        permit_seconds: int = 5,
    ) -> None:
        self.coordination = coordination
        self.per_minute = per_minute
        self._permit_seconds = permit_seconds
        self._permits: dict[str, list[tuple[float, Permit]]] = {}  # by counter, with the end of validity

    async def delay(
        self, team: str, method: str, channel: str = "", *, is_urgent: bool = False, leave: int = 0
    ) -> float:
        """Return the seconds until Slack accepts one more call; 0 counts it as made.

        `leave` are the calls per minute that are left to other callers.
        """
        counter = f"slack:{team}" + (f":{channel}" if method in _IN_EACH_CHANNEL else "")
        asked_at = time.monotonic()
        if self._use_permit(counter, method, asked_at):
            return 0
        calls = {each: self.per_minute[each] for each in (method, *_SOON_AFTER.get(method, ()))}
        if is_urgent:
            calls[method] += _RESERVED.get(method, 0)
        calls[method] -= leave
        seconds, permits = await self.coordination.take(
            counter,
            calls,
            ahead=self._permit_seconds,
            unused=self._remove_lapsed(counter, asked_at),
        )
        if permits:
            held = self._permits.setdefault(counter, [])
            held += [(asked_at + self._permit_seconds, permit) for permit in permits]
        return seconds

    def _use_permit(self, counter: str, method: str, now: float) -> bool:
        """Use up a permit for this call; return False if there is none."""
        held = self._permits.get(counter, [])
        for each in held:
            if each[0] > now and each[1].call == method:
                held.remove(each)
                return True
        return False

    def _remove_lapsed(self, counter: str, now: float) -> Sequence[Permit]:
        held = self._permits.get(counter, [])
        lapsed = [permit for until, permit in held if until <= now]
        if lapsed:
            self._permits[counter] = [each for each in held if each[0] > now]
        return lapsed

    async def wait(
        self, team: str, method: str, channel: str = "", *, most: float = math.inf, is_urgent: bool = False
    ) -> None:
        """Wait until Slack accepts one more call, and count it as made.

        Raises `RateLimited` when that takes more than `most` seconds.
        """
        waited = 0.0
        while seconds := await self.delay(team, method, channel, is_urgent=is_urgent):
            waited += seconds
            if waited > most:
                raise RateLimited(f"Slack's rate limit of {method} is reached", seconds)
            await asyncio.sleep(seconds)
