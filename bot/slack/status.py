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
from types import TracebackType
from typing import Self

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


class Status:
    """Status of threads; workspaces without sessions are remembered for `Timing.session_retry_interval`."""

    def __init__(self, api: SlackApi, limits: RateLimits, timing: Timing) -> None:
        self._api = api
        self._limits = limits
        self._timing = timing
        self._none_until: dict[str, float] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await cancel(*self._ending)

    @contextlib.asynccontextmanager
    async def at_work(self, thread: ThreadId, receipt: Receipt) -> AsyncIterator[None]:
        """Show that the bot is at work until the body ends. Raises `LeaseLost`."""
        await receipt.check()
        has_session = await self._begin_session(thread)
        has_line = not has_session
        if has_line:
            await self._show_line(thread, THINKING)
        ours = True
        try:
            yield
        except (LeaseLost, asyncio.CancelledError):
            ours = False  # another attempt continues, and clears it
            raise
        finally:
            if ours:
                await receipt.check()
                if has_line:  # Slack clears it with an answer, but an earlier attempt may have shown that
                    await self._show_line(thread, "")
                if has_session:  # even if another thread has found since that the workspace has none
                    await self._end_session(thread)
                elif receipt.turn.attempt > 1:  # an earlier attempt may have begun one and crashed
                    await self.end(thread)

    async def end(self, thread: ThreadId) -> None:
        """Clear the status, whichever process has set it. Never raises."""
        if self._has_none(thread.space):
            await self._show_line(thread, "")
        else:
            await self._end_session(thread)

    def clear(self, thread: ThreadId) -> None:
        """Clear the status after a user has pressed the stop button, whether or not a turn is running.

        Slack leaves that to the app: https://docs.slack.dev/reference/events/agent_session_stopped
        """
        task = asyncio.create_task(self.end(thread))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_session(self, thread: ThreadId) -> None:
        try:
            async with asyncio.timeout(self._timing.status_end_timeout):
                await self._limits.wait(thread.space, END_SESSION)
                await self._set_session_patiently(thread, "active")
        except (PlatformError, TimeoutError) as error:
            log.warning("session not ended", extra={"error": repr(error)})
            if isinstance(error, PlatformError):
                self._note(thread.space, error)

    async def _begin_session(self, thread: ThreadId) -> bool:
        """Begin a session; return whether the thread has one, as far as is known."""
        if self._has_none(thread.space) or await self._limits.delay(thread.space, _SESSIONS):
            return False
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

    def _note(self, space: str, error: PlatformError) -> None:
        """Remember a workspace without sessions, if the error means that."""
        if isinstance(error, CredentialsRejected) or (
            isinstance(error, Refused) and error.code in _OF_THE_WORKSPACE
        ):
            self._none_until[space] = time.monotonic() + self._timing.session_retry_interval

    async def _set_session_patiently(self, thread: ThreadId, status: str) -> None:
        while True:
            try:
                return await self._set_session(thread, status)
            except RateLimited as error:
                await asyncio.sleep(error.retry_after)

    async def _set_session(self, thread: ThreadId, status: str) -> None:
        await self._api.repeat(_SESSIONS, channel_id=thread.channel, thread_ts=thread.thread, status=status)

    async def _show_line(self, thread: ThreadId, status: str) -> None:
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
