"""kill -9 around the steps of asking a question, of answering it by a button or in words, and of going on.

As in test_crash_points. The steps that a question shares with every turn are killed at there.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bot.commands.question_texts import ANSWER_STOPPED
from bot.inbox import keys
from tests.crash.bot import Bot
from tests.crash.killed_once import KilledOnce, kill_at_each
from tests.crash.scenes import TIMEOUT, DiscordScene, HttpScene, SlackScene
from tests.crash.trial import Lane, environ_of, open_lanes
from tests.crash.watch import Watch
from tests.servers.model import Script, model_server
from tests.servers.slack.service import ALICE, GENERAL
from tests.servers.steps import unobserved
from tests.support.wait import wait_until

LANES = 2
ORDER, ANSWER = "buy fruit", "So be it."
ASK = Script(tool_calls=[("ask_user", {"question": "Which fruit?", "options": ["Apples", "Pears"]})])


class SlackTalk(SlackScene):
    """Question in a thread on Slack."""

    role, shows, settles = "slack", "slack: chat.postMessage", "slack: chat.update"

    def _forms(self) -> list[Any]:
        replies = self.slack.replies(GENERAL, self.root or "")
        return [each for each in replies if "Which fruit?" in str(each.blocks)]

    def forms(self) -> list[str]:
        """Return the questions as they are shown."""
        return [str(each.blocks) for each in self._forms()]

    async def press(self) -> bool:
        """Choose the second option, if its button is still there; return whether that was taken."""
        (form,) = self._forms()
        if not any(block["type"] == "actions" for block in form.blocks):
            return True
        return (await self.slack.press(ALICE, GENERAL, form.ts, "answer:1")).acked


class DiscordTalk(DiscordScene):
    """Question in a thread on Discord."""

    role = "discord"
    shows = "discord: POST /channels/{channel}/messages"
    settles = "discord: PATCH /channels/{channel}/messages/{message}"

    def _forms(self) -> list[Any]:
        thread = self.question.thread if self.question else None
        shown = self.discord.messages(thread) if thread else []
        return [each for each in shown if each.content.startswith("❓")]

    def forms(self) -> list[str]:
        """Return the questions as they are shown."""
        return [each.content + str(each.buttons) for each in self._forms()]

    async def press(self) -> bool:
        """Choose the second option, if its button is still there; return whether that was taken."""
        (form,) = self._forms()
        if form.buttons:
            try:
                await self.discord.click(self.discord.alice, form, "Pears", timeout=2)
            except AssertionError:  # not taken, or its private answer was lost with the process
                return False
        return True


class HttpTalk(HttpScene):
    """Question over HTTP, where it is text; the answer repeats it."""

    def forms(self) -> list[str]:
        """Return the questions as they were shown last."""
        return [each for each in self.visible_messages() if "Which fruit?" in each][-1:]

    async def press(self) -> bool:
        """Do nothing: there are no buttons."""
        return True


Talk = SlackTalk | DiscordTalk | HttpTalk


class Trial(KilledOnce):
    """One question, with one kill at most."""

    def __init__(
        self, lane: Lane, talk: Talk, *, asking_end: str = "", answering_end: str = "", in_words: bool
    ) -> None:
        super().__init__(lane, talk, asking_end, answering_end)
        self._talk = talk
        self._in_words = in_words
        self.asking: list[str] = []
        self.answering: list[str] = []

    async def _prepare(self) -> Mapping[str, str]:
        self.model.respond = lambda request: ASK if _is_order(request) else ANSWER
        return {}

    async def _play(self) -> None:
        await self.begin()
        await self._talk.ask(self.bot, ORDER)
        await self.until(lambda: bool(self._talk.forms()), self._ask_again)
        self.asking = self.steps()
        self.begin_second_half()
        answering = asyncio.create_task(self._answer())
        await self.until(lambda: any(ANSWER in each for each in self._talk.visible_messages()), self._again)
        self.answering = self.steps()
        await answering

    async def _ask_again(self) -> None:
        await self._talk.ask_again(self.bot)

    async def _answer(self) -> None:
        if self._in_words:
            await self._talk.ask(self.bot, "Pears")
        else:
            await wait_until(self._talk.press, "the press is taken", TIMEOUT)

    async def _again(self) -> None:
        """Press again; words are delivered again, or found in the history, or sent again over HTTP."""
        await (self._ask_again() if self._in_words else self._answer())

    async def _faults(self) -> list[str]:
        faults: list[str] = []
        forms = self._talk.forms()
        if len(forms) != 1 or "answered: Pears" not in forms[0] or "answer:1" in forms[0]:
            faults.append(f"shown: {forms}")
        if sum(ANSWER in each for each in self._talk.visible_messages()) != 1:
            faults.append(f"answered: {self._talk.visible_messages()}")
        return faults


def _is_order(request: dict[str, Any]) -> bool:
    return ORDER in str(request["messages"][-1]["content"])


@pytest_asyncio.fixture(scope="module")
async def lanes(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> AsyncIterator[list[Lane]]:
    """Places for trials at the same time."""
    async with open_lanes(LANES, tmp_path_factory, database_url) as lanes:
        yield lanes


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [SlackTalk, DiscordTalk])
async def test_a_question_is_shown_once_and_a_press_answers_it_whenever_the_bot_is_killed(
    kind: type[SlackTalk | DiscordTalk], lanes: list[Lane]
) -> None:
    """Around the step that shows it, the one that takes the press, and the one that removes the buttons."""
    undisturbed = Trial(lanes[0], kind(), in_words=False)
    assert not await undisturbed.run()
    shown = _place(undisturbed.asking, kind.shows)
    settled = _place(undisturbed.answering, kind.settles)
    await killed_at(
        kind,
        lanes,
        asking=undisturbed.asking[shown - 1 : shown + 2],
        answering=[*undisturbed.answering[:2], *undisturbed.answering[settled - 1 : settled + 2]],
        in_words=False,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [SlackTalk, DiscordTalk, HttpTalk])
async def test_words_answer_a_question_once_whenever_the_bot_is_killed(
    kind: type[Talk], lanes: list[Lane]
) -> None:
    """At each step of the turn, which takes the words for the answer and removes the buttons."""
    undisturbed = Trial(lanes[0], kind(), in_words=True)
    assert not await undisturbed.run()
    assert any(each.startswith("redis: CLAIM") for each in undisturbed.answering)
    await killed_at(kind, lanes, answering=undisturbed.answering, in_words=True)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", [SlackTalk, DiscordTalk])
async def test_a_stop_after_a_kill_ends_the_question_that_was_being_answered(
    kind: type[SlackTalk | DiscordTalk], lanes: list[Lane]
) -> None:
    """The words were taken for the answer, which was not stored; the stop comes before the next attempt."""
    lane, talk = lanes[0], kind()
    await lane.redis.flushall()
    log = lane.directory / "bot.log"
    log.unlink(missing_ok=True)
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(model_server())
        await stack.enter_async_context(talk)
        model.script(ASK)
        environ = environ_of(lane, talk, model)
        bot = Bot(environ, log)
        stack.callback(bot.kill)

        def die() -> None:
            bot.kill()
            lane.proxy.drop()
            talk.on_kill()

        watch = Watch(die)
        lane.proxy.steps = watch.over("redis")
        stack.callback(setattr, lane.proxy, "steps", unobserved)
        bot.start()
        await talk.listens(bot, lane.redis)
        await talk.ask(bot, ORDER)
        await wait_until(lambda: bool(talk.forms()), "it is asked", TIMEOUT)
        watch.begin("after redis: CLAIM #1")
        await talk.ask(bot, "Pears")
        await wait_until(lambda: watch.ended, "it is killed", TIMEOUT)
        receiver = Bot(environ | {"BOT_ROLES": talk.role}, log)
        stack.callback(receiver.kill)
        receiver.start()
        await talk.listens(receiver, lane.redis)
        await talk.ask(receiver, "!stop")
        stops = keys.stops(await _thread(lane.redis))
        await wait_until(lambda: _has(lane.redis, stops), "the stop is taken", TIMEOUT)
        receiver.kill()
        bot.start()
        await talk.listens(bot, lane.redis)
        await wait_until(lambda: ANSWER_STOPPED in talk.forms()[0], "it is over", TIMEOUT)
        assert "answer:1" not in talk.forms()[0]
        assert len(model.requests) == 1


async def _has(redis: Redis, key: str) -> bool:
    return await redis.exists(key) > 0


async def _thread(redis: Redis) -> str:
    """Return the name of the only thread in which messages wait."""
    (key,) = [each async for each in redis.scan_iter(match=keys.mailbox("*"))]
    return str(key.decode().partition(":mailbox:")[2])


def _place(steps: Sequence[str], name: str) -> int:
    return next(at for at, step in enumerate(steps) if step.startswith(name))


async def killed_at(
    kind: type[Talk],
    lanes: Sequence[Lane],
    *,
    asking: Sequence[str] = (),
    answering: Sequence[str],
    in_words: bool,
) -> None:
    """Run a trial for the end of each step of either half."""
    ends = [
        *({"asking_end": f"after {each}"} for each in asking),
        *({"answering_end": f"after {each}"} for each in dict.fromkeys(answering)),
    ]
    await kill_at_each(ends, lanes, lambda lane, end: Trial(lane, kind(), **end, in_words=in_words))
