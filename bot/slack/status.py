"""Status of a thread: it shows that the bot is at work.

Shown as an agent session, which gives users a stop button
(https://docs.slack.dev/reference/methods/agents.sessions.setStatus); without sessions, as a line of text
(https://docs.slack.dev/reference/methods/assistant.threads.setStatus).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.chat import (
    CredentialsRejected,
    LeaseLost,
    PlatformError,
    RateLimited,
    Receipt,
    ThreadId,
    Turn,
    Unreachable,
)
from bot.chat.text import one_line, visible
from bot.concurrency.tasks import cancel
from bot.slack.api import SlackApi
from bot.slack.errors import Refused
from bot.slack.rate_limits import CLOSE_SESSION, END_SESSION, RateLimits
from bot.slack.texts import THINKING
from bot.slack.timing import Timing
from bot.slack.titles import title_of

log = logging.getLogger(__name__)

_SESSIONS = "agents.sessions.setStatus"

_NO_BUTTON = "missing_agent_session_stopped_event_subscription"
"""Warning of Slack: the app was created before it subscribed to that event."""

_INSTALL_AGAIN = "subscribe to agent_session_stopped, as manifest.yml does"

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
        "not_agent_app",
        "not_allowed_token_type",
        "not_authorized",
        "team_added_to_org",
        "unknown_method",
    }
)
"""Refusals of a session that concern the whole workspace. All others, also unknown ones, concern one thread:
a question may have been deleted, and its refusal must not take the stop button from everybody."""

_OF_CREATION = frozenset({"invalid_arg_name", "invalid_arguments", "user_not_found"})
"""Refusals that the details of a new session may cause, such as a user who is not in the channel."""

_OF_ONE_THREAD = frozenset({"invalid_thread_ts", "thread_not_found"})
"""Refusals to end a session with a stream that concern one thread. After all others, also unknown ones, the
workspace's sessions end by a call of their own until the stream is tried again."""

_MOST_TITLE = 200
"""Most characters of a title."""

_NO_DETAILS: Mapping[str, str] = {}

_MOST_KNOWN = 1_000
"""Most threads of which something is remembered."""

EndStatus = Literal["active", "suspended"]
"""Status in which a turn leaves a session: `suspended` while the thread waits for a user's decision."""


@dataclass(slots=True)
class Session:
    """Status that a thread shows during one reply: `nothing` during a pause, then a session or a line.

    A session is `is_busy` until it has ended, perhaps with the answer's last stream; `refusal` is Slack's
    error if it did not accept that. It ends with `end_status`, which a request `has_changed` if the turn made
    or settled one. `creation` are the details that Slack takes if the session is new.
    """

    may_end_with_stream: bool = False
    creation: Mapping[str, str] = field(default_factory=dict)
    shown: Literal["nothing", "session", "line"] = "nothing"
    is_busy: bool = False
    is_pausing: bool = True
    refusal: str = ""
    end_status: EndStatus = "active"
    has_changed: bool = False
    showing: asyncio.Task[None] | None = None
    """Task that shows the status; None for a turn that shows none."""

    async def settle(self) -> None:
        """End the pause without a status, since the answer is complete; later, wait until it is shown."""
        if self.showing is None:
            return
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
        self._without_button: set[str] = set()  # workspaces where the app does not subscribe to stops
        self._forgotten: dict[ThreadId, None] = {}  # threads whose sessions are to be closed
        self._renamed: dict[ThreadId, str] = {}  # titles that users have given
        self._left: dict[ThreadId, None] = {}
        """Threads whose status an attempt may have left; without Redis the next one counts as first."""
        self._ending: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop clearing what users have stopped."""
        await cancel(*self._ending)

    @contextlib.asynccontextmanager
    async def at_work(self, thread: ThreadId, receipt: Receipt, session: Session) -> AsyncIterator[None]:
        """Show that the bot is at work until the body ends, in a session if possible. Raises `LeaseLost`.

        It is shown `Timing.status_delay` after the beginning, and not at all if the body has ended by then.
        A turn that the agent does not answer shows none: a typed command ends no suspended session.
        """
        if not _asks_agent(receipt):
            yield
            return
        await receipt.check()
        self._forgotten.pop(thread, None)
        has_room = not (self._has_none(thread.space) or await self._limits.delay(thread.space, _SESSIONS))
        session.may_end_with_stream = self._apart_until.get(thread.space, 0.0) <= time.monotonic()
        session.creation = self._creation(receipt.turn)
        showing = session.showing = asyncio.create_task(self._show(thread, session, has_room=has_room))
        ours = True
        try:
            if not self._timing.status_delay:
                await showing
            yield
        except (LeaseLost, asyncio.CancelledError):
            ours = False  # another attempt continues, and clears it
            raise
        finally:
            await (session.settle() if ours else cancel(showing))
            if session.refusal not in {"", *_OF_ONE_THREAD}:
                self._apart_until[thread.space] = self._retry_time()
            if ours:
                await self._clear(thread, session, receipt)
            elif not session.is_pausing:
                self._left[thread] = None
                if len(self._left) > _MOST_KNOWN:
                    del self._left[next(iter(self._left))]

    def _creation(self, turn: Turn) -> Mapping[str, str]:
        """Return the title and the initiator of a new session; Slack ignores them if there is one."""
        first = turn.messages[0]
        details = {
            "title": self._renamed.get(turn.thread) or title_of(turn),
            "initiator_user_id": "" if first.bot_ids else first.place.get("user", ""),
        }
        return {name: value for name, value in details.items() if value}

    async def _show(self, thread: ThreadId, session: Session, *, has_room: bool) -> None:
        await asyncio.sleep(self._timing.status_delay)
        session.is_pausing = False
        if has_room and await self._begin_session(thread, session.creation):
            session.shown, session.is_busy = "session", True
        else:
            session.shown = "line"
            await self.show_line(thread, THINKING)

    async def _clear(self, thread: ThreadId, session: Session, receipt: Receipt) -> None:
        """Clear what is shown after a reply, also by an earlier attempt, which may have crashed."""
        is_first = receipt.turn.attempt == 1 and thread not in self._left
        self._left.pop(thread, None)
        if session.shown == "session":
            if session.is_busy:
                await receipt.hold()  # stores the end of the answer first: Slack's limits may take time
                # even if another thread has found since that there are none
                await self._end_session(thread, session.end_status)
            if not is_first:  # the line of an earlier attempt may name a tool call
                await receipt.hold()
                await self.show_line(thread, "")
            return
        if session.shown == "line" or not is_first:
            await receipt.hold()
            await self.show_line(thread, "")  # Slack clears the line only with an answer
        if not is_first:
            await self.end(thread, session.end_status)
        elif session.has_changed and not self._has_none(thread.space):
            await receipt.hold()
            await self._end_session(thread, session.end_status, session.creation)

    async def end_finished(self, thread: ThreadId, receipt: Receipt) -> None:
        """End the status of a reply that an earlier attempt has finished: only this may be missing."""
        if _asks_agent(receipt):
            await self.end(thread, "suspended" if receipt.state.get("waiting") else "active")

    async def end(self, thread: ThreadId, status: EndStatus = "active") -> None:
        """Clear the status, whichever process has set it. Never raises."""
        if self._has_none(thread.space):
            await self.show_line(thread, "")
        else:
            await self._end_session(thread, status)

    def clear(self, thread: ThreadId) -> None:
        """Clear the status after a user has pressed the stop button, whether or not a turn is running.

        Slack leaves that to the app: https://docs.slack.dev/reference/events/agent_session_stopped
        """
        self._start(self.end(thread))

    def close_session(self, thread: ThreadId) -> None:
        """Close the session of a thread whose memory was removed, in a task and after those before it.

        A new turn there keeps it open.
        """
        self._renamed.pop(thread, None)
        if self._has_none(thread.space) or len(self._forgotten) >= _MOST_KNOWN:
            return
        self._forgotten[thread] = None
        if len(self._forgotten) == 1:
            self._start(self._close_sessions())

    async def _close_sessions(self) -> None:
        while self._forgotten:
            thread = next(iter(self._forgotten))
            try:
                await self._limits.wait(thread.space, CLOSE_SESSION)
                if thread in self._forgotten:
                    await self._set_session_patiently(thread, "closed", _NO_DETAILS)
            except PlatformError as error:
                log.info("session not closed", extra={"error": repr(error)})
                self._note(thread.space, error)
            finally:
                self._forgotten.pop(thread, None)

    def keep_title(self, thread: ThreadId, title: str) -> None:
        """Keep the title that a user has given to a session: it is never replaced by one of the bot."""
        title = one_line(visible(title[: 2 * _MOST_TITLE], _MOST_TITLE))
        self._renamed.pop(thread, None)
        if title:
            self._renamed[thread] = title
        if len(self._renamed) > _MOST_KNOWN:
            del self._renamed[next(iter(self._renamed))]

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_session(
        self,
        thread: ThreadId,
        status: EndStatus,
        creation: Mapping[str, str] = _NO_DETAILS,
    ) -> None:
        try:
            async with asyncio.timeout(self._timing.status_end_timeout):
                await self._limits.wait(thread.space, END_SESSION)
                await self._set_session_patiently(thread, status, creation)
        except (PlatformError, TimeoutError) as error:
            log.warning("session not ended", extra={"error": repr(error)})
            if isinstance(error, PlatformError):
                self._note(thread.space, error)

    async def _begin_session(self, thread: ThreadId, creation: Mapping[str, str]) -> bool:
        """Begin a session; return False if the thread has none, as far as is known."""
        try:
            async with asyncio.timeout(self._timing.status_timeout):
                await self._set_session(thread, "processing", creation)
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

    async def _set_session_patiently(
        self, thread: ThreadId, status: str, creation: Mapping[str, str]
    ) -> None:
        while True:
            try:
                return await self._set_session(thread, status, creation)
            except RateLimited as error:
                await asyncio.sleep(error.retry_after)

    async def _set_session(self, thread: ThreadId, status: str, creation: Mapping[str, str]) -> None:
        place = {"channel_id": thread.channel, "thread_ts": thread.thread, "status": status}
        try:
            answer = await self._api.repeat(_SESSIONS, **place, **creation)
        except Refused as error:
            if not creation or error.code not in _OF_CREATION:
                raise
            answer = await self._api.repeat(_SESSIONS, **place)
        if answer.get("warning") == _NO_BUTTON and thread.space not in self._without_button:
            self._without_button.add(thread.space)
            log.warning("stop button missing", extra={"space": thread.space, "advice": _INSTALL_AGAIN})

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


def _asks_agent(receipt: Receipt) -> bool:
    """Return whether the agent answers a message of the turn; others are commands, or are refused."""
    received = receipt.state.get("received", {})
    return any(each.id not in received for each in receipt.turn.messages)
