"""Growth of an answer by edits: all readers of a channel see it, while a stream is live for one user only.

`chat.update` needs room for final texts, so that an answer grows less often when there are many, and not at
all beyond the limit: https://docs.slack.dev/reference/methods/chat.update (Tier 3).
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from bot.chat import RateLimited
from bot.platforms.read_ahead import ReadAhead
from bot.slack.errors import Refused
from bot.slack.markdown import PageBreak, paginate
from bot.slack.messages import ReplyMessages
from bot.slack.rate_limits import RateLimits
from bot.slack.renderer import Renderer
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

_EDIT = "chat.update"


class EditBudget:
    """Shares the workspace's limit among all answers of this process that grow by edits."""

    def __init__(self, limits: RateLimits, interval: float) -> None:
        self._limits = limits
        self._interval = interval  # 1.2 s are 50 a minute, all that Slack allows
        self._growing = 0

    async def delay(self, team: str) -> float:
        """Return the seconds until Slack accepts one more edit; 0 counts it as made."""
        return await self._limits.delay(team, _EDIT)

    @contextlib.contextmanager
    def share(self) -> Iterator[None]:
        """Count as one of the growing answers."""
        self._growing += 1
        try:
            yield
        finally:
            self._growing -= 1

    def interval(self) -> float:
        """Return the seconds between two edits of one answer."""
        return self._interval * self._growing


class Growth:
    """Growth of one answer until it is complete; `ReplyMessages.show` then shows the whole text."""

    def __init__(
        self, messages: ReplyMessages, renderer: Renderer, budget: EditBudget, timing: Timing
    ) -> None:
        self._messages = messages
        self._renderer = renderer
        self._budget = budget
        self._timing = timing
        self._texts = [""]  # of each message, as far as they are known
        self._shown: list[str] = []
        self._is_behind = False
        self._is_refused = False
        self._due = float("-inf")

    async def follow(self, ahead: ReadAhead) -> None:
        """Show the parts of `ahead` as they come, until it ends; only the newest text counts."""
        with self._budget.share():
            while not ahead.has_ended:
                for part in await ahead.take(self._patience()):
                    self._renderer.add(part)
                    self._is_behind = not self._is_refused
                self._take()
                if self._patience() == 0 and not ahead.has_ended:
                    await self._grow()

    def _take(self) -> None:
        for item in self._renderer.take():
            if isinstance(item, PageBreak):
                self._texts[-1] += item.close
                self._texts.append(item.reopen)
            elif isinstance(item, str):
                self._texts[-1] += item

    def _patience(self) -> float | None:
        return max(0.0, self._due - _now()) if self._is_behind else None

    async def _grow(self) -> None:
        self._is_behind = False
        self._due = _now() + self._budget.interval()
        try:
            texts = self._pages()
            for number, text in enumerate(texts):
                if self._shown[number : number + 1] != [text]:
                    await self._show(number, text)
        except RateLimited as error:
            self._wait(error.retry_after)
        except Refused as error:  # the whole answer is posted in its place
            log.warning("answer does not grow", extra={"error": str(error)})
            self._is_refused = True

    def _pages(self) -> list[str]:
        """Return the text so far, with what the running steps do below it; before a text, the steps."""
        texts, ongoing = [each for each in self._texts if each.strip()], self._renderer.ongoing
        if not texts:
            return [sheet.text for sheet in paginate(self._renderer.outline())[:1]]
        return [*texts[:-1], f"{texts[-1].rstrip()}\n\n{ongoing}…"] if ongoing else texts

    async def _show(self, number: int, text: str) -> None:
        if number == len(self._messages.pages):
            await self._messages.grow(text)
            self._shown.append(text)
        elif seconds := await self._budget.delay(self._messages.thread.space):
            raise RateLimited("Slack's limit of edits is reached", seconds)
        else:
            await self._messages.grow(text, self._messages.pages[number])
            self._shown[number] = text

    def _wait(self, seconds: float) -> None:
        self._is_behind = True
        self._due = _now() + seconds


def _now() -> float:
    return asyncio.get_running_loop().time()
