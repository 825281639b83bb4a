"""Status of a thread: it shows that the bot is at work.

Shown as an agent session, which gives users a stop button
(https://docs.slack.dev/reference/methods/agents.sessions.setStatus); without sessions, as a line of text
(https://docs.slack.dev/reference/methods/assistant.threads.setStatus).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

from bot.chat import (
    CredentialsRejected,
    LeaseLost,
    PlatformError,
    RateLimited,
    Receipt,
    ThreadId,
    Unreachable,
)
from bot.concurrency.tasks import cancel
from bot.slack.api import SlackApi
from bot.slack.errors import Refused
from bot.slack.rate_limits import END_SESSION, RateLimits
from bot.slack.texts import THINKING
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

_SESSIONS = "agents.sessions.setStatus"

_OF_THE_WORKSPACE = frozenset(
    {
        "access_denied",
        "accesslimited",
        "deprecated_endpoint",
        "enterprise_is_restricted",
        "feature_disabled",
        "is_bot",
        "method_deprecated",
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "not_authorized",
        "team_added_to_org",
        "unknown_method",
    }
)
"""Refusals of a session that concern the whole workspace. All others, also unknown ones, concern one thread:
a question may have been deleted, and its refusal must not take the stop button from everybody."""

_OF_ONE_THREAD = frozenset({"invalid_thread_ts", "thread_not_found"})
"""Refusals to end a session with a stream that concern one thread. After all others, also unknown ones, the
workspace's sessions end by a call of their own until the stream is tried again."""

_MOST_LEFT = 1_000


@dataclass(slots=True)
class Session:
    """Status that a thread shows during one reply: `nothing` during a pause, then a session or a line.

    A session is `is_busy` until it has ended, perhaps with the answer's last stream; `refusal` is Slack's
    error if it did not accept that.
    """

    may_end_with_stream: bool
    shown: Literal["nothing", "session", "line"] = "nothing"
    is_busy: bool = False
    is_pausing: bool = True
    is_waiting: bool = False
    """The answer has ended with a request, which waits for a user."""
    refusal: str = ""
    showing: asyncio.Task[None] = field(init=False)

    async def settle(self) -> None:
        """End the pause without a status, since the answer is complete; later, wait until it is shown."""
        if self.is_pausing:
            await cancel(self.showing)
        else:
            await self.showing

    async def can_end_with_stream(self) -> bool:
        """Return whether a session is busy that may end with the answer's last stream."""
        await self.settle()
        return self.is_busy and self.may_end_with_stream


class Status:
    """Status of threads; what a workspace lacks is remembered for `Timing.session_retry_interval`."""

    def __init__(self, api: SlackApi, limits: RateLimits, timing: Timing) -> None:
        self._api = api
        self._limits = limits
        self._timing = timing
        self._none_until: dict[str, float] = {}  # workspaces without sessions
        self._apart_until: dict[str, float] = {}  # workspaces where no session ends with a stream
        self._left: dict[ThreadId, None] = {}
        """Threads whose status an attempt may have left; without Redis the next one counts as first."""
        self._ending: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop clearing what users have stopped."""
        await cancel(*self._ending)

    @contextlib.asynccontextmanager
    async def at_work(self, thread: ThreadId, receipt: Receipt) -> AsyncIterator[Session]:
        """Show that the bot is at work until the body ends, in a session if possible. Raises `LeaseLost`.

        It is shown `Timing.status_delay` after the beginning, and not at all if the body has ended by then.
        """
        await receipt.check()
        has_room = not (self._has_none(thread.space) or await self._limits.delay(thread.space, _SESSIONS))
        session = Session(self._apart_until.get(thread.space, 0.0) <= time.monotonic())
        session.showing = asyncio.create_task(self._show(thread, session, has_room=has_room))
        ours = True
        try:
            if not self._timing.status_delay:
                await session.showing
            yield session
        except (LeaseLost, asyncio.CancelledError):
            ours = False  # another attempt continues, and clears it
            raise
        finally:
            await (session.settle() if ours else cancel(session.showing))
            if session.refusal not in {"", *_OF_ONE_THREAD}:
                self._apart_until[thread.space] = self._retry_time()
            if ours:
                await self._clear(thread, session, receipt)
            elif not session.is_pausing:
                self._left[thread] = None
                if len(self._left) > _MOST_LEFT:
                    del self._left[next(iter(self._left))]

    async def _show(self, thread: ThreadId, session: Session, *, has_room: bool) -> None:
        await asyncio.sleep(self._timing.status_delay)
        session.is_pausing = False
        if has_room and await self._begin_session(thread):
            session.shown, session.is_busy = "session", True
        else:
            session.shown = "line"
            await self.show_line(thread, THINKING)

    async def _clear(self, thread: ThreadId, session: Session, receipt: Receipt) -> None:
        """Clear what is shown after a reply, also by an earlier attempt, which may have crashed."""
        is_first = receipt.turn.attempt == 1 and thread not in self._left
        self._left.pop(thread, None)
        if session.shown == "session" and session.is_busy:
            await receipt.hold()  # stores the end of the answer first: Slack's limits may take time
            # even if another thread has found since that there are none
            await self._end_session(thread, is_waiting=session.is_waiting)
        elif session.shown == "line" or (session.shown == "nothing" and not is_first):
            await receipt.hold()
            await self.show_line(thread, "")  # Slack clears the line only with an answer
            if not is_first:
                await self.end(thread, is_waiting=session.is_waiting)
        if session.shown == "session" and not is_first:  # the line of an earlier attempt may name a tool call
            await receipt.hold()
            await self.show_line(thread, "")

    async def end(self, thread: ThreadId, *, is_waiting: bool = False) -> None:
        """Clear the status, whichever process has set it. Never raises."""
        if self._has_none(thread.space):
            await self.show_line(thread, "")
        else:
            await self._end_session(thread, is_waiting=is_waiting)

    def clear(self, thread: ThreadId) -> None:
        """Clear the status after a user has pressed the stop button, whether or not a turn is running.

        Slack leaves that to the app: https://docs.slack.dev/reference/events/agent_session_stopped
        """
        task = asyncio.create_task(self.end(thread))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_session(self, thread: ThreadId, *, is_waiting: bool) -> None:
        try:
            async with asyncio.timeout(self._timing.status_end_timeout):
                await self._limits.wait(thread.space, END_SESSION)
                await self._set_session_patiently(thread, "suspended" if is_waiting else "active")
        except (PlatformError, TimeoutError) as error:
            log.warning("session not ended", extra={"error": repr(error)})
            if isinstance(error, PlatformError):
                self._note(thread.space, error)

    async def _begin_session(self, thread: ThreadId) -> bool:
        """Begin a session; return False if the thread has none, as far as is known."""
        try:
            async with asyncio.timeout(self._timing.status_timeout):
                await self._set_session(thread, "processing")
        except (Unreachable, TimeoutError) as error:  # Slack may have begun it anyway
            log.debug("session not confirmed", extra={"error": repr(error)})
        except PlatformError as error:
            log.debug("session refused", extra={"error": str(error)})
            self._note(thread.space, error)
            return False
        return True

    def _has_none(self, space: str) -> bool:
        return self._none_until.get(space, 0.0) > time.monotonic()

    def _retry_time(self) -> float:
        return time.monotonic() + self._timing.session_retry_interval

    def _note(self, space: str, error: PlatformError) -> None:
        """Remember a workspace without sessions, if the error means that."""
        if isinstance(error, CredentialsRejected) or (
            isinstance(error, Refused) and error.code in _OF_THE_WORKSPACE
        ):
            self._none_until[space] = self._retry_time()

    async def _set_session_patiently(self, thread: ThreadId, status: str) -> None:
        while True:
            try:
                return await self._set_session(thread, status)
            except RateLimited as error:
                await asyncio.sleep(error.retry_after)

    async def _set_session(self, thread: ThreadId, status: str) -> None:
        await self._api.repeat(_SESSIONS, channel_id=thread.channel, thread_ts=thread.thread, status=status)

    async def show_line(self, thread: ThreadId, status: str) -> None:
        """Show a line of text, or clear it. Never raises."""
        # Slack clears it by itself with an answer, or after two minutes
        try:
            async with asyncio.timeout(self._timing.status_timeout):
                await self._api.repeat(
                    "assistant.threads.setStatus",
                    channel_id=thread.channel,
                    thread_ts=thread.thread,
                    status=status,
                )
        except (PlatformError, TimeoutError) as error:
            log.debug("status not shown", extra={"error": repr(error)})
