"""Acts of several steps, in which the agent is a colleague of several users.

The agent asks a user, is called into a thread, is silent, or is rated and corrected.
"""

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from redis.asyncio import Redis

from bot.agent.spotlighting import SIGN
from bot.commands.question_texts import ANSWER_STOPPED
from bot.commands.texts import QUIET
from bot.inbox import keys
from tests.servers.slack.service import ALICE
from tests.storm.places import PATIENCE, Place
from tests.support.wait import wait_until

OPTIONS = ("Apples", "Pears")
_UNREAD = "I could not read"
_UNREAD_SECONDS = 10.0
"""Seconds after which a user asks again whose thread could not be read, because Slack limits that."""

_AGAIN_SECONDS = 2.0
"""Seconds after which a user who sees nothing presses again."""

How = Literal["pressed", "worded", "interrupted", "stopped", "ignored"]


class Scene(Protocol):
    """World of the users."""

    redis: Redis

    def new_token(self) -> str:
        """Return a token that no message has."""

    async def begin(self, text: str, user: str = ALICE) -> Place:
        """Mention the bot in a new place; `user` is the author on Slack."""

    async def begin_without_bot(self, text: str) -> Place:
        """Write as Bob in a new thread, without a mention."""

    def given(self, token: str) -> str:
        """Return all that users wrote in the request to the model that had to answer a token."""


@dataclass
class Talk:
    """Conversation of several steps; `due` is the number of answers by their tokens."""

    token: str
    place: Place
    scene: Scene
    due: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.due.setdefault(self.token, 1)

    async def run(self) -> None:
        """Run the users' actions after the first message."""
        raise NotImplementedError

    async def problem(self) -> str:
        """Return the problem at the end, or an empty string."""
        wrong = {token: self.answers(token) for token, due in self.due.items() if self.answers(token) != due}
        return f"answers: {wrong}, due: {self.due}" if wrong else ""

    def answers(self, token: str) -> int:
        """Return the number of answers with a token; a question of the agent is none."""
        return _count(token, self.place.visible_text()) - sum(
            _count(token, each.text) for each in self.place.forms()
        )

    async def _answered(self, token: str) -> None:
        await wait_until(lambda: self.answers(token) >= 1, f"{token} is answered", PATIENCE)

    async def _ask(self, *, mention: bool = True) -> str:
        """Write a message that is answered, and wait for the answer; return its token."""
        token = self.scene.new_token()
        self.due[token] = 1
        await self.place.say(f"{self.place.mention} {token}" if mention else token)
        await self._answered(token)
        return token

    async def _pass_over(self, *, other: bool) -> None:
        """Write a message that is not answered, and wait until the bot knows it."""
        token = self.scene.new_token()
        self.due[token] = 0
        await self._passed_over(await self.place.say(token, other=other))

    async def _passed_over(self, message: str) -> None:
        """Wait until the bot has decided not to answer the message with an id."""

        async def is_silent() -> bool:
            return bool(await self.scene.redis.hexists(keys.seen(message), "silent"))

        await wait_until(is_silent, f"{message} is passed over", PATIENCE)


@dataclass
class Choice(Talk):
    """Question of the agent to its user: answered, stopped or expired, and the run goes on once."""

    how: How = "pressed"

    def __post_init__(self) -> None:
        if self.how != "stopped":
            super().__post_init__()

    async def run(self) -> None:
        await wait_until(self._is_asked, f"{self.token} is a question", PATIENCE)
        if not self.place.forms():
            return
        if self.how == "worded":
            await self._say()
        elif self.how == "stopped":
            await self.place.say("!stop")
        elif self.how == "interrupted":
            await self._pass_over(other=True)
        if self.how in ("pressed", "interrupted"):
            await wait_until(self._press, f"{self.token} has its answer", PATIENCE)
        await wait_until(self._is_over, f"{self.token} is over", PATIENCE)

    def _is_asked(self) -> bool:
        """Return True once the question is shown, or has expired before Slack's limits allowed that."""
        return bool(self.place.forms()) or self.answers(self.token) > 0

    async def _say(self) -> None:
        """Answer in words, which are a message of their own if the question has expired meanwhile."""
        token = self.scene.new_token()
        self.due[token] = 1
        await self.place.say(f"neither, {token}")

    async def _press(self) -> bool:
        """Press again, as long as the buttons are there."""
        if not self._is_over():
            await self.place.choose(1)
            await asyncio.sleep(_AGAIN_SECONDS)
        return self._is_over()

    def _is_over(self) -> bool:
        return not any(each.is_open for each in self.place.forms())

    async def problem(self) -> str:
        forms = self.place.forms()
        if not forms and self.answers(self.token) == 1:
            return ""
        if len(forms) != 1 or not any(each in forms[0].text for each in self._endings()):
            return f"{self.how}, shown: {forms}"
        if self.how == "stopped":
            return "" if self.answers(self.token) <= 1 else f"answered {self.answers(self.token)} times"
        return await super().problem()

    def _endings(self) -> list[str]:
        """Return the ways in which the question may have ended, as they are shown."""
        ways = {
            "pressed": [f"answered: {OPTIONS[1]}"],
            "interrupted": [f"answered: {OPTIONS[1]}"],
            "worded": ["answered: neither, "],
            "stopped": ["Stopped by", ANSWER_STOPPED],
            "ignored": [],
        }
        return [*ways[self.how], "Nobody answered this in time"]


@dataclass
class Invitation(Talk):
    """Mentions in a thread of others: the model is given all that was written, once."""

    heard: list[str] = field(default_factory=list)
    last: str = ""

    async def run(self) -> None:
        """Let Bob write and Alice ask; his last message may reach the bot after her mention."""
        await self._hear()
        await self._ask_for_all()
        message = await self._hear()
        await self._ask_for_all()
        await self._passed_over(message)
        await self._ask_for_all()

    async def _hear(self) -> str:
        """Let Bob write; return the id of the message."""
        token = self.scene.new_token()
        self.due[token] = 0
        self.heard.append(token)
        return await self.place.say(token, other=True)

    async def _ask_for_all(self) -> None:
        """Ask, and again if the bot says that it could not read the thread."""
        problems = self.place.visible_text().count(_UNREAD)
        self.last = await self._ask()
        if self.place.visible_text().count(_UNREAD) > problems:
            await asyncio.sleep(_UNREAD_SECONDS)
            await self._ask_for_all()

    async def problem(self) -> str:
        given = self.scene.given(self.last)
        # the bot's own answers may be a part of what it reads again after it could not read
        asked = {token: _count(token, own_words(given)) for token, due in self.due.items() if due}
        seen = asked | {token: _count(token, given) for token in self.heard}
        if set(seen.values()) != {1}:
            return f"given to the model: {seen} in {given!r}"
        return await super().problem()


@dataclass
class Silence(Talk):
    """Thread where two users write to each other: a mention is answered, and then what its author adds."""

    is_asked_for: bool = False

    async def run(self) -> None:
        await self._answered(self.token)
        if self.is_asked_for:
            await self.place.say("!quiet", other=True)
            await wait_until(lambda: self._told >= 1, f"{self.token} is quiet", PATIENCE)
        else:
            await self._pass_over(other=True)
        await self._pass_over(other=False)
        await self._ask()
        await self._ask(mention=False)
        await self._pass_over(other=True)

    @property
    def _told(self) -> int:
        return self.place.visible_text().count(QUIET)

    async def problem(self) -> str:
        if self._told != int(self.is_asked_for):
            return f"asked for: {self.is_asked_for}, said {self._told} times that it is quiet"
        return await super().problem()


@dataclass
class Feedback(Talk):
    """Answer that two users rate, and of which one wants another: each vote counts once.

    `presses` are those of the first user and of Bob, in their order; the last one of each counts.
    """

    presses: list[tuple[bool, str]] = field(default_factory=list)
    regenerates: bool = False
    answer: str = ""

    async def run(self) -> None:
        await wait_until(self._is_complete, f"{self.token} has buttons", PATIENCE)
        for other, vote in self.presses:

            async def vote_once(other: bool = other, vote: str = vote) -> bool:
                return await self.place.vote(self.answer, vote, other=other)

            await wait_until(vote_once, f"{self.token} is rated", PATIENCE)
        if self.regenerates:
            self.due[self.token] = 2
            await wait_until(self._regenerate, f"{self.token} has another answer", PATIENCE)

    def _is_complete(self) -> bool:
        self.answer = self.place.rated_answer(self.token)
        return bool(self.answer)

    async def _regenerate(self) -> bool:
        """Press again, as long as nothing comes of it."""
        if self.answers(self.token) < 2:
            await self.place.regenerate(self.answer)
            await asyncio.sleep(_AGAIN_SECONDS)
        return self.answers(self.token) >= 2

    @property
    def votes(self) -> dict[tuple[str, str], str]:
        """Return the votes that must be stored, by answer and author."""
        return {(self.answer, self.place.authors[other]): vote for other, vote in self.presses}


def own_words(text: str) -> str:
    """Return a message without the earlier messages of others that it comes with."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(SIGN))


def _count(token: str, text: str) -> int:
    return len(re.findall(rf"\b{token}\b", text))


async def begin_talk(chance: random.Random, scene: Scene, *, questions: bool) -> Talk:
    """Start a random talk, a question of the agent only with `questions`.

    The model recognises by a word that it has to ask.
    """
    token = scene.new_token()
    kind: Callable[..., Talk] = chance.choice(
        [*[Choice] * 2 * questions, Invitation, Invitation, Silence, Feedback, Feedback]
    )
    if kind is Choice:
        how: How = chance.choice(["pressed", "pressed", "worded", "interrupted", "stopped", "ignored"])
        # where nothing is under way any more, a stop ends all that its author has asked in the channel
        user = f"U0{token.upper()}" if how == "stopped" else ALICE
        return Choice(token, await scene.begin(f"choose {token}", user), scene, how=how)
    if kind is Invitation:
        return Invitation(token, await scene.begin_without_bot(token), scene, {token: 0}, [token])
    place = await scene.begin(token)
    if kind is Silence:
        return Silence(token, place, scene, is_asked_for=chance.random() < 0.5)
    first, other = chance.choice(["up", "down"]), chance.choice(["up", "down"])
    presses = [(False, "up"), (True, other), (False, first), (True, other)]
    return Feedback(token, place, scene, presses=presses, regenerates=chance.random() < 0.6)
