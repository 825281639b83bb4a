"""kill -9 around the steps of a vote, of its reason, and of another answer.

As in test_crash_points. A user whose press is not acknowledged presses again.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
import pytest_asyncio

from bot.access.answers import AnswerStore
from bot.access.answers.answer_store import RATE
from tests.crash.killed_once import KilledOnce, kill_at_each
from tests.crash.scenes import TIMEOUT, DiscordScene, SlackScene
from tests.crash.trial import Lane, open_lanes
from tests.servers.discord.rules import walk
from tests.servers.slack.service import ALICE, GENERAL
from tests.support.wait import wait_until

LANES = 2
QUESTION, FIRST, SECOND, REASON = "what is it?", "The first answer.", "The second answer.", "It is wrong."
Act = Literal["vote", "regenerate"]


class SlackPlace(SlackScene):
    """Answer in a thread on Slack."""

    def _answer(self) -> Any:
        shown = self.slack.replies(GENERAL, self.root or "")
        return next(each for each in shown if FIRST in each.text)

    def has_buttons(self) -> bool:
        """Return whether the first answer is complete."""
        shown = self.slack.replies(GENERAL, self.root or "")
        return any(FIRST in each.text and each.blocks for each in shown)

    async def vote(self) -> bool:
        """Vote against the answer; return whether that was taken, and a form is open."""
        press = await self.slack.press(ALICE, GENERAL, self._answer().ts, "rate", "negative_button")
        return press.acked and await _soon(lambda: any(each.is_open for each in self.slack.modals))

    async def give_reason(self) -> bool:
        """Submit the form; return whether that was taken."""
        form = next(each for each in reversed(self.slack.modals) if each.is_open)
        return not (await self.slack.submit(form, {"reason": REASON})).is_open

    async def regenerate(self) -> bool:
        """Order another answer; return whether that was taken."""
        return (await self.slack.press(ALICE, GENERAL, self._answer().ts, "regenerate")).acked


class DiscordPlace(DiscordScene):
    """Answer in a thread on Discord."""

    _opened: Any = None

    def _answers(self) -> list[Any]:
        thread = self.question.thread if self.question else None
        shown = self.discord.messages(thread) if thread else []
        return [each for each in shown if FIRST in each.content and each.author is self.discord.bot]

    def has_buttons(self) -> bool:
        """Return whether the first answer is complete."""
        return any(each.buttons for each in self._answers())

    async def vote(self) -> bool:
        """Vote against the answer; return whether that was taken, and a form is open."""
        self._opened = await self._click("rate:down:")
        return self._opened is not None and self._opened.modal is not None

    async def give_reason(self) -> bool:
        """Submit the form; return whether that was taken."""
        try:
            submitted = await self.discord.submit(self._opened, {"reason": REASON}, timeout=2)
        except AssertionError:  # not taken, or the private answer was lost with the process
            return False
        return bool(submitted.content.startswith("Thank you"))

    async def regenerate(self) -> bool:
        """Order another answer; return whether that was taken."""
        return await self._click("regenerate:") is not None

    async def _click(self, prefix: str) -> Any:
        (message,) = self._answers()
        names = (each.get("custom_id", "") for each in walk(message.components))
        button = next(each for each in names if each.startswith(prefix))
        try:
            return await self.discord.click(self.discord.alice, message, button, timeout=2)
        except AssertionError:
            return None


async def _soon(holds: Any) -> bool:
    """Return whether something happens within two seconds."""
    try:
        await wait_until(holds, "soon", 2)
    except AssertionError:
        return False
    return True


Place = SlackPlace | DiscordPlace


class Trial(KilledOnce):
    """One answer on which a user acts, with one kill at most."""

    def __init__(self, lane: Lane, place: Place, act: Act, end: str = "") -> None:
        super().__init__(lane, place, "", end)
        self._place = place
        self._act = act
        self._is_done = False
        self._is_acting = False
        self.acting: list[str] = []

    async def _prepare(self) -> Mapping[str, str]:
        self.model.respond = lambda _: SECOND if self._is_acting else FIRST
        return {}

    async def _play(self) -> None:
        await self.begin()
        await self._place.ask(self.bot, QUESTION)
        await self.until(self._place.has_buttons, self._wait)
        self.steps()
        self._is_acting = True
        self.begin_second_half()
        acting = asyncio.create_task(self._take_action())
        await self.until(self._is_over, self._wait)
        self.acting = self.steps()
        await acting

    async def _wait(self) -> None:
        pass  # the user goes on by themselves

    async def _take_action(self) -> None:
        if self._act == "vote":
            await wait_until(self._place.vote, "the vote is taken", TIMEOUT)
            await wait_until(self._place.give_reason, "the reason is taken", TIMEOUT)
        else:
            await wait_until(self._place.regenerate, "the order is taken", TIMEOUT)
        self._is_done = True

    def _is_over(self) -> bool:
        shown = any(SECOND in each for each in self._place.visible_messages())
        return self._is_done and (shown or self._act == "vote")

    async def _faults(self) -> list[str]:
        faults: list[str] = []
        store = AnswerStore(self._lane.redis)
        rated = [(each.vote, each.reason) async for each in store.all_feedback()]
        counted = await store.count(datetime.now(UTC).date().isoformat())
        shown = self._place.visible_messages()
        number = {text: sum(text in each for each in shown) for text in (FIRST, SECOND)}
        if self._act == "vote":
            due = ([("down", REASON)], {"up": 0, "down": 1}, {FIRST: 1, SECOND: 0})
        else:
            due = ([], {"up": 0, "down": 0}, {FIRST: 1, SECOND: 1})
            if any(FIRST in str(each["messages"]) for each in self.model.requests):
                faults.append("the model has seen its old answer")
        if (rated, counted, number) != due:
            faults.append(f"{rated}, {counted}, {shown}, due: {due}")
        return faults


@pytest_asyncio.fixture(scope="module")
async def lanes(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> AsyncIterator[list[Lane]]:
    """Places for trials at the same time."""
    async with open_lanes(LANES, tmp_path_factory, database_url, {"RATE": RATE}) as lanes:
        yield lanes


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [SlackPlace, DiscordPlace])
async def test_a_vote_and_its_reason_count_once_whenever_the_bot_is_killed(
    kind: type[Place], lanes: list[Lane]
) -> None:
    """Before and after the step that stores either, and after the form is opened."""
    undisturbed = Trial(lanes[0], kind(), "vote")
    assert not await undisturbed.run()
    assert sum(each.startswith("redis: RATE") for each in undisturbed.acting) == 2
    ends = [f"{side} {each}" for each in undisturbed.acting for side in ("before", "after")]
    await kill_at_each(list(dict.fromkeys(ends)), lanes, lambda lane, end: Trial(lane, kind(), "vote", end))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [SlackPlace, DiscordPlace])
async def test_another_answer_comes_once_whenever_the_bot_is_killed(
    kind: type[Place], lanes: list[Lane]
) -> None:
    """At each step, from the press of the button to the end of the turn."""
    undisturbed = Trial(lanes[0], kind(), "regenerate")
    assert not await undisturbed.run()
    assert any(each.startswith("redis: PUT") for each in undisturbed.acting)
    ends = [f"after {each}" for each in dict.fromkeys(undisturbed.acting)]
    await kill_at_each(ends, lanes, lambda lane, end: Trial(lane, kind(), "regenerate", end))
