"""kill -9 around the steps of a question by a shortcut on Slack, by `/ask` and by the menu on Discord.

As in test_crash_points. A user whose form stays open sends it again; one whose command was lost asks again.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import pytest
import pytest_asyncio

from bot.commands import ask_texts
from bot.inbox import admin
from tests.crash.killed_once import KilledOnce, kill_at_each
from tests.crash.scenes import TIMEOUT, DiscordScene, Scene, SlackScene
from tests.crash.trial import Lane, open_lanes
from tests.crash.watch import Watch
from tests.servers.discord.interactions import Interaction
from tests.servers.discord.service import Message
from tests.servers.slack.service import ALICE, BOB, GENERAL
from tests.support.wait import wait_until

LANES = 2
QUESTION, ANSWER, SUBJECT = "Which one is it?", "It is the green one.", "The tea is out."


class Place(Scene, Protocol):
    """Place in which a user asks in another way than by a message."""

    async def take(self) -> bool:
        """Ask; return whether that was taken, as far as the user sees."""

    async def faults_of_answer(self) -> list[str]:
        """Return what is wrong with the question and its answer as they are shown."""


class OnSlack(SlackScene):
    """Shortcut on Slack, from anywhere."""

    async def take(self) -> bool:
        """Open the form unless it is open, and submit it."""
        form = next((each for each in self.slack.modals if each.is_open), None)
        if form is None and self.slack.modals:
            return True
        try:
            form = form or await self._open()
        except AssertionError:  # nobody has opened it
            return False
        return not (await self.slack.submit(form, {"question": QUESTION})).is_open

    async def _open(self) -> Any:
        return await self.slack.shortcut(ask_texts.ASK, ALICE)

    def _all(self) -> list[Any]:
        everywhere = [self.slack.messages(channel) for channel in self.slack.workspace.messages]
        return [each for messages in everywhere for each in messages if each.from_bot]

    async def faults_of_answer(self) -> list[str]:
        """Return what is wrong: both are shown once, the question before the answer, in one thread."""
        shown = self._all()
        questions = [each for each in shown if "asks:" in str(each.blocks)]
        answers = [each for each in shown if ANSWER in each.visible_text]
        root = self.root or (questions[0].ts if questions else "")
        is_right = (len(questions), len(answers)) == (1, 1)
        is_right = is_right and answers[0].thread_ts == root and float(questions[0].ts) < float(answers[0].ts)
        return [] if is_right else [str([(each.ts, each.thread_ts, each.visible_text) for each in shown])]


class OnSlackMessage(OnSlack):
    """Shortcut on a message in a channel of Slack."""

    async def _open(self) -> Any:
        self.root = self.root or await self.slack.say(BOB, GENERAL, SUBJECT)
        return await self.slack.shortcut(ask_texts.ASK_ABOUT, ALICE, (GENERAL, self.root))


class OnDiscord(DiscordScene):
    """`/ask` in a channel of Discord."""

    private = False

    def observe(self, watch: Watch) -> None:
        """Report all changes, also those by the token of a command."""

        def is_passing(request: str) -> bool:
            return request.startswith("GET") or request.endswith("/typing") or "/applications/" in request

        self.discord.observe(watch.over("discord", is_passing))

    async def take(self) -> bool:
        """Ask unless the question is being answered; return whether the user sees more than “thinking”."""
        try:
            await self._ask()
        except AssertionError:
            return False
        return True

    async def _ask(self) -> Interaction:
        options = {"question": QUESTION, "private": self.private}
        return await self.discord.command("ask", options=options, timeout=2)

    def _all(self) -> list[Message]:
        everywhere = [self.discord.messages(each) for each in self.discord.world.channels.values()]
        return [each for messages in everywhere for each in messages if each.author is self.discord.bot]

    async def faults_of_answer(self) -> list[str]:
        """Return what is wrong: both are shown once, the answer in the thread of the question."""
        questions = [each for each in self._all() if "asks:" in each.content]
        answers = [each for each in self._all() if ANSWER in each.content]
        is_right = (len(questions), len(answers)) == (1, 1) and answers[0].channel is questions[0].thread
        return [] if is_right else [str([(each.channel.name, each.content) for each in self._all()])]


class OnDiscordMessage(OnDiscord):
    """Menu of a message on Discord."""

    _subject: Message | None = None

    async def _ask(self) -> Interaction:
        discord = self.discord
        self._subject = self._subject or await discord.say(discord.bob, discord.general, SUBJECT)
        opened = await discord.message_command(ask_texts.ASK_ABOUT, self._subject, timeout=2)
        return await discord.submit(opened, {"question": QUESTION}, timeout=2)


class PrivatelyOnDiscord(OnDiscord):
    """`/ask` with a private answer."""

    private = True

    def visible_messages(self) -> list[str]:
        """Return what the user sees below their commands."""
        return [each.content for sent in self.discord.interactions.sent for each in sent.messages]

    async def faults_of_answer(self) -> list[str]:
        """Return what is wrong: the answer is shown once, to its user alone, and nothing else is."""
        is_right = self.visible_messages() == [ANSWER] and not self._all()
        return [] if is_right else [str(self.visible_messages()), str([each.content for each in self._all()])]


class Trial(KilledOnce):
    """One question, with one kill at most."""

    def __init__(self, lane: Lane, place: Any, end: str = "") -> None:
        super().__init__(lane, place, end)
        self._place: Place = place
        self.taken: list[str] = []

    async def _prepare(self) -> Mapping[str, str]:
        self.model.respond = lambda _: ANSWER
        return {}

    async def _play(self) -> None:
        await self.begin()
        asking = asyncio.create_task(self._ask())
        await self.until(self._is_over, self._ask_again)
        self.taken = self.steps()
        await asking

    async def _ask(self) -> None:
        if isinstance(self._place, OnSlack):
            await wait_until(self._place.take, "the question is taken", TIMEOUT)
        else:
            await self._place.take()  # Discord does not repeat it

    async def _ask_again(self) -> None:
        """Ask again on Discord if the question was lost; a form of Slack is sent again anyway."""
        if isinstance(self._place, OnSlack):
            return

        async def is_taken() -> bool:
            is_idle = await admin.list_messages(self._lane.redis) == "The inbox is empty."
            return is_idle and (self._is_over() or await self._place.take())

        await wait_until(is_taken, "it is answered, or taken again", TIMEOUT)

    def _is_over(self) -> bool:
        return any(ANSWER in each for each in self._place.visible_messages())

    async def _faults(self) -> list[str]:
        return await self._place.faults_of_answer()


@pytest_asyncio.fixture(scope="module")
async def lanes(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> AsyncIterator[list[Lane]]:
    """Places for trials at the same time."""
    async with open_lanes(LANES, tmp_path_factory, database_url) as lanes:
        yield lanes


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [OnSlack, OnSlackMessage, OnDiscord, OnDiscordMessage, PrivatelyOnDiscord])
async def test_a_question_is_shown_and_answered_once_whenever_the_bot_is_killed(
    kind: type[OnSlack | OnDiscord], lanes: list[Lane]
) -> None:
    """After each step, from the form or command to the end of the answer."""
    undisturbed = Trial(lanes[0], kind())
    assert not await undisturbed.run()
    assert any(each.startswith("redis: PUT") for each in undisturbed.taken)
    ends = [f"after {each}" for each in dict.fromkeys(undisturbed.taken)]
    await kill_at_each(ends, lanes, lambda lane, end: Trial(lane, kind(), end))
