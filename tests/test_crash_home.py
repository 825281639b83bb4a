"""kill -9 between the step that stores feedback about the bot and the tab that shows it.

As in test_crash_points. A user whose form stays open sends it again; a tab that is old is refreshed.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from bot.access.answers import AnswerStore
from bot.access.answers.answer_store import RATE
from bot.commands import home_texts
from bot.slack.home_view import FEEDBACK, REFRESH
from tests.crash.killed_once import KilledOnce, kill_at_each
from tests.crash.scenes import TIMEOUT, SlackScene
from tests.crash.trial import Lane, open_lanes
from tests.servers.slack.rules import visible_text
from tests.servers.slack.service import ALICE
from tests.support.wait import wait_until

WORDS = "It helps."


class Trial(KilledOnce):
    """Feedback about the bot, with one kill at most."""

    def __init__(self, lane: Lane, end: str) -> None:
        self._place = SlackScene()
        super().__init__(lane, self._place, end)
        self._is_done = False

    async def _prepare(self) -> Mapping[str, str]:
        return {}

    async def _play(self) -> None:
        await self.begin()
        acting = asyncio.create_task(self._act())
        await self.until(lambda: self._is_done, self._wait)
        self.steps()
        await acting

    async def _wait(self) -> None:
        pass  # the user goes on by themselves

    async def _act(self) -> None:
        slack = self._place.slack
        slack.open_home(ALICE, "home")
        await wait_until(lambda: slack.home(ALICE) is not None, "the tab is shown", TIMEOUT)
        await slack.press_home(ALICE, FEEDBACK)
        await wait_until(lambda: bool(slack.modals), "the form is opened", TIMEOUT)
        await wait_until(self._is_taken, "the feedback is taken", TIMEOUT)
        await wait_until(self._is_shown, "the tab shows it", TIMEOUT)
        self._is_done = True

    async def _is_taken(self) -> bool:
        (form,) = self._place.slack.modals
        return not (await self._place.slack.submit(form, {"rating": "up", "words": WORDS})).is_open

    async def _is_shown(self) -> bool:
        slack = self._place.slack
        home = slack.home(ALICE)
        if home and home_texts.feedback(1, 0) in visible_text(home["blocks"]):
            return True
        await slack.press_home(ALICE, REFRESH)
        return False

    async def _faults(self) -> list[str]:
        store = AnswerStore(self._lane.redis)
        stored = [(each.by, each.vote, each.reason) async for each in store.all_feedback()]
        counted = await store.count(datetime.now(UTC).date().isoformat())
        is_right = stored == [(f"slack:{ALICE}", "up", WORDS)] and counted == {"up": 1, "down": 0}
        return [] if is_right else [f"{stored}, {counted}"]


@pytest_asyncio.fixture(scope="module")
async def lanes(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> AsyncIterator[list[Lane]]:
    """Place for trials."""
    async with open_lanes(1, tmp_path_factory, database_url, {"RATE": RATE}) as lanes:
        yield lanes


@pytest.mark.timeout(300)
async def test_feedback_about_the_bot_counts_once_and_is_shown_whenever_the_bot_is_killed(
    lanes: list[Lane],
) -> None:
    """After it is stored and before Slack knows, and before the tab shows it."""
    await kill_at_each(["after redis: RATE #1", "before slack: views.publish #2"], lanes, Trial)
