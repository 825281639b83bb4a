"""Suggested prompts: what a user may ask, shown when they open their direct messages with the bot.

https://docs.slack.dev/reference/methods/assistant.threads.setSuggestedPrompts
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from bot.chat import BotError, CredentialsRejected, Json, PlatformError, Prompt
from bot.commands.commands import Commands
from bot.commands.memory import Caller
from bot.concurrency.tasks import cancel
from bot.slack.api import SlackApi
from bot.slack.block_text import word
from bot.slack.errors import Refused
from bot.slack.markdown import neutralise
from bot.slack.rate_limits import RateLimits
from bot.slack.texts import PROMPTS, continued
from bot.slack.timing import Timing
from bot.slack.titles import plain_title

log = logging.getLogger(__name__)

_METHOD = "assistant.threads.setSuggestedPrompts"
_MOST = 4
_MOST_TOPICS = 3
"""Most prompts of a user's own topics: one says what else the bot can do."""

_MOST_READ = 4
"""Most users whose topics are read at once: the memory of a user is found by a search."""

_MOST_KNOWN = 1_000
_TITLE = 50


class SuggestedPrompts:
    """Suggested prompts in the direct messages of one workspace; `configured` are those of the operator.

    Without those, a user's own newest topics come first. Nobody else sees them.
    """

    def __init__(
        self, api: SlackApi, limits: RateLimits, timing: Timing, configured: Sequence[Prompt] | None
    ) -> None:
        self._api = api
        self._limits = limits
        self._timing = timing
        self._configured = configured
        self._reading = asyncio.Semaphore(_MOST_READ)
        self._none_until = 0.0  # in a workspace that does not take any
        self._shown: dict[str, float] = {}  # by user, in monotonic seconds
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop showing prompts."""
        await cancel(*self._tasks)

    def open(self, event: Mapping[str, Json], commands: Commands) -> None:
        """Show prompts to a user who opens their direct messages, in a task, and not again soon after."""
        user, channel, now = word(event.get("user")), word(event.get("channel")), time.monotonic()
        is_fresh = now - self._shown.get(user, float("-inf")) < self._timing.prompts_max_age
        if not user or not channel or is_fresh or now < self._none_until or self._configured == ():
            return
        self._shown.pop(user, None)
        self._shown[user] = now
        if len(self._shown) > _MOST_KNOWN:
            del self._shown[next(iter(self._shown))]
        task = asyncio.create_task(self._show(user, channel, commands))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show(self, user: str, channel: str, commands: Commands) -> None:
        try:
            team = (await self._api.who()).team_id
            prompts = self._configured or await self._of_user(
                Caller(self._api.ids.user(user), team), commands
            )
            if await self._limits.delay(team, _METHOD):  # the next opening tries again
                self._shown.pop(user, None)
                return
            shown = [{"title": neutralise(title), "message": neutralise(text)} for title, text in prompts]
            await self._api.repeat(_METHOD, channel_id=channel, prompts=shown)
        except PlatformError as error:
            if isinstance(error, Refused | CredentialsRejected):
                self._none_until = time.monotonic() + self._timing.session_retry_interval
            self._shown.pop(user, None)
            log.info("prompts not shown", extra={"error": str(error)})
        except Exception:  # a bug is logged with its trace: nobody waits for this task
            log.exception("prompts failed")

    async def _of_user(self, caller: Caller, commands: Commands) -> Sequence[Prompt]:
        topics = await self._topics(caller, commands)
        return [*topics, *PROMPTS][:_MOST]

    async def _topics(self, caller: Caller, commands: Commands) -> Sequence[Prompt]:
        """Return a prompt for each of the newest threads in which the user wrote; none if that fails."""
        if commands.memory is None:
            return ()
        try:
            async with self._reading, asyncio.timeout(self._timing.prompts_timeout):
                threads = (await commands.memory.overview(caller)).threads
        except (BotError, TimeoutError) as error:  # the user gets the usual prompts
            log.info("topics not read", extra={"error": repr(error)})
            return ()
        except Exception:  # a bug is logged with its trace; the user gets the usual prompts
            log.exception("topics not read")
            return ()
        titles = {title: each.question for each in threads if (title := plain_title(each.question, _TITLE))}
        return [Prompt(title, continued(text)) for title, text in list(titles.items())[:_MOST_TOPICS]]
