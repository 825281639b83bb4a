"""User actions besides questions: approvals, edits, deletions, stops; and messages that hang the bot.

Each happens in its own place.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from tests.servers.slack.service import ALICE, CAROL
from tests.storm.places import PATIENCE, Place
from tests.support.wait import wait_until

_GIVEN_UP = re.compile(r"so I gave up|could not finish it")


class Act(Protocol):
    """One question and the next action of its author; `token` is in the answer."""

    token: str
    place: Place

    async def run(self) -> None:
        """Run the user's actions after the question."""

    async def problem(self) -> str:
        """Return the problem at the end, or an empty string."""


@dataclass
class _Act:
    token: str
    place: Place

    @property
    def answers(self) -> int:
        """Return the number of answers with the token in the place."""
        return _count(self.token, self.place)


@dataclass
class Order(_Act):
    """Change that needs an approval: made once if approved, never if not."""

    approve: bool
    executions: Callable[[str], Awaitable[int]]

    async def run(self) -> None:
        async def is_decided() -> bool:
            return await self.place.decide(approve=self.approve)

        await wait_until(is_decided, f"{self.token} is decided", PATIENCE)

    async def problem(self) -> str:
        made = await self.executions(self.token)
        if made == int(self.approve) and self.answers == 1:
            return ""
        return f"approved: {self.approve}, made {made} times, answered {self.answers} times"


@dataclass
class Edit(_Act):
    """Question that is edited to another token, which is answered once."""

    last: str
    delay: float

    async def run(self) -> None:
        await asyncio.sleep(self.delay)  # the user's reaction time
        self.place.edit(self.last)

    async def problem(self) -> str:
        before, after = self.answers, _count(self.last, self.place)
        return "" if before <= 1 and after == 1 else f"answered {before} times, and {after} times the edit"


@dataclass
class Deletion(_Act):
    """Question that is deleted: its turn ends with at most one answer."""

    delay: float

    async def run(self) -> None:
        await asyncio.sleep(self.delay)  # as above
        self.place.remove()

    async def problem(self) -> str:
        return "" if self.answers <= 1 else f"answered {self.answers} times"


@dataclass
class Stop(_Act):
    """Question whose long answer is stopped: its turn ends with at most one answer."""

    delay: float

    async def run(self) -> None:
        await asyncio.sleep(self.delay)  # as above
        await self.place.stop()

    async def problem(self) -> str:
        return "" if self.answers <= 1 else f"answered {self.answers} times"


@dataclass
class Hang(_Act):
    """Question that hangs the event loop: given up once, with a message."""

    async def run(self) -> None:
        pass

    async def problem(self) -> str:
        told = len(_GIVEN_UP.findall(self.place.visible_text()))
        return (
            "" if told == 1 and self.answers <= 1 else f"given up {told} times: {self.place.visible_text()!r}"
        )


@dataclass
class Unreadable(_Act):
    """Message that hangs every process that reads it: skipped in the end."""

    async def run(self) -> None:
        pass

    async def problem(self) -> str:
        return f"shown: {self.place.visible_text()!r}" if self.place.visible_text() else ""


def _count(token: str, place: Place) -> int:
    return len(re.findall(rf"\b{token}\b", place.visible_text()))


class Begin(Protocol):
    """Writes a message in a new place."""

    async def __call__(self, text: str, user: str = ALICE) -> Place:
        """Write the message and return the place; `user` is the author on Slack."""


async def begin_act(
    chance: random.Random,
    begin: Begin,
    new_token: Callable[[], str],
    executions: Callable[[str], Awaitable[int]],
    *,
    orders: bool,
) -> Act:
    """Start a random act, an order only with `orders`.

    The model recognises orders and long answers by a word.
    """
    token, delay = new_token(), chance.uniform(0, 2.5)
    kind = chance.choice([*[Order] * 2 * orders, Edit, Edit, Deletion, Stop])
    if kind is Order:
        return Order(token, await begin(f"order {token}"), chance.random() < 0.6, executions)
    if kind is Edit:
        return Edit(token, await begin(token), new_token(), delay)
    if kind is Deletion:
        return Deletion(token, await begin(token), delay)
    # where nothing is under way any more, a stop ends all that its author has asked in the channel
    return Stop(token, await begin(f"long {token}", CAROL), delay)


async def begin_hang(chance: random.Random, begin: Begin, token: str) -> Act:
    """Start an act that hangs a bot."""
    how = chance.choice(["backtrack", "compute", "block"])
    where = chance.choice(["answer", "show", "take"])
    place = await begin(f"{token} [{where}:{how}]")
    return Unreadable(token, place) if where == "take" else Hang(token, place)
