"""kill -9 at every step of requesting an approval, of deciding, and of carrying the order out.

As in test_crash_points: a step is a request that changes something outside of the bot. The change itself is
none of them, but the steps before and after it are.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from tests.crash.bot import Bot
from tests.crash.killed_once import KilledOnce, kill_at_each
from tests.crash.scenes import TIMEOUT, DiscordScene, SlackScene
from tests.crash.trial import Lane, open_lanes
from tests.servers.discord.service import InteractionFailed
from tests.servers.model import Script
from tests.servers.slack.service import ALICE, BOB, GENERAL
from tests.support.approvals import shows_request
from tests.support.table import Shelf, a_shelf
from tests.support.wait import wait_until

LANES = 4
QUESTION, ANSWER = "take one of each", "One of each is gone."
TAKEN = {"apples": 9, "pears": 19, "plums": 30}


class SlackDesk(SlackScene):
    """Asked in a thread on Slack; the button is there."""

    approver = f"slack:{ALICE}"

    def requests(self) -> list[Any]:
        """The messages that ask, or asked, for leave."""
        return list(filter(shows_request, self.slack.bot_replies(GENERAL, self.root or "")))

    async def press(self) -> bool:
        """Approve, if the button is still there; whether that was taken, as a person sees it."""
        (request,) = self.requests()
        if not any(block["type"] == "actions" for block in request.blocks):
            return True
        return (await self.slack.press(ALICE, GENERAL, request.ts, "approve")).acked

    def is_settled(self) -> bool:
        """Return whether the one request says who has decided it."""
        return ["Approved by" in str(each.blocks) for each in self.requests()] == [True]


class DiscordDesk(DiscordScene):
    """Asked in a thread on Discord; the button is there."""

    approver = ""

    async def __aenter__(self) -> "DiscordDesk":
        await super().__aenter__()
        self.approver = f"discord:{self.discord.alice.id}"
        return self

    def requests(self) -> list[Any]:
        """The messages that ask, or asked, for leave."""
        thread = self.question.thread if self.question else None
        return [each for each in self.discord.messages(thread) if "```sql" in each.content] if thread else []

    async def press(self) -> bool:
        """Approve, if the button is still there; whether that was taken, as a person sees it."""
        (request,) = self.requests()
        if request.buttons:
            try:
                await self.discord.click(self.discord.alice, request, "Approve")
            except InteractionFailed:
                return False
        return True

    def is_settled(self) -> bool:
        """Return whether the one request says who has decided it."""
        return ["Approved by" in each.content for each in self.requests()] == [True]


class SlackDirectDesk(SlackDesk):
    """Asked by Bob in a direct message; the button is in Alice's."""

    async def ask(self, bot: Bot, text: str) -> None:
        self.root = await self.slack.say(BOB, self.slack.dm(BOB), text)

    def _cards(self, user: str) -> list[Any]:
        shown = self.slack.messages(self.slack.dm(user))
        return [each for each in shown if each.from_bot and shows_request(each)]

    def requests(self) -> list[Any]:
        """The copies of the request."""
        return self._cards(ALICE) if self._cards(BOB) else []

    async def press(self) -> bool:
        """Approve, if the button is still there; whether that was taken, as a person sees it."""
        (request,) = self._cards(ALICE)
        if not any(block["type"] == "actions" for block in request.blocks):
            return True
        return (await self.slack.press(ALICE, self.slack.dm(ALICE), request.ts, "approve")).acked

    def is_settled(self) -> bool:
        """Return whether the request and its one copy say who has decided it."""
        shown = [*self._cards(ALICE), *self._cards(BOB)]
        return ["Approved by" in str(each.blocks) for each in shown] == [True, True]

    def visible_messages(self) -> list[str]:
        return [each.visible_text for each in self.slack.messages(self.slack.dm(BOB)) if each.from_bot]


class DiscordDirectDesk(DiscordDesk):
    """Asked by Bob in a direct message; the button is in Alice's."""

    async def ask(self, bot: Bot, text: str) -> None:
        discord = self.discord
        self.question = await discord.say(discord.bob, discord.dm(discord.bob), text)

    def _cards(self, user: Any) -> list[Any]:
        return [each for each in self.discord.messages(self.discord.dm(user)) if "```sql" in each.content]

    def requests(self) -> list[Any]:
        """The copies of the request."""
        return self._cards(self.discord.alice) if self._cards(self.discord.bob) else []

    def is_settled(self) -> bool:
        """Return whether the request and its one copy say who has decided it."""
        shown = [*self._cards(self.discord.alice), *self._cards(self.discord.bob)]
        return ["Approved by" in each.content for each in shown] == [True, True]

    def visible_messages(self) -> list[str]:
        here = self.discord.messages(self.discord.dm(self.discord.bob))
        return [each.content for each in here if each.author.bot]


Desk = SlackDesk | DiscordDesk


class Trial(KilledOnce):
    """One change, with one kill at most."""

    def __init__(self, lane: Lane, desk: Desk, shelf: Shelf, end: str) -> None:
        super().__init__(lane, desk, end)
        self._desk = desk
        self._shelf = shelf
        self.asking: list[str] = []
        self.deciding: list[str] = []

    async def _prepare(self) -> Mapping[str, str]:
        await self._shelf.fill()
        statement = f"UPDATE {self._shelf.name} SET stock = stock - 1 WHERE id <= 2"
        order = Script(tool_calls=[("sql_execute", {"statement": statement})])
        self.model.respond = lambda request: ANSWER if request["messages"][-1]["role"] == "tool" else order
        return {
            "DATABASE_WRITE_URL": self._shelf.dsn,
            "SQL_WRITES": "approval",
            "APPROVERS": self._desk.approver,
        }

    async def _play(self) -> None:
        await self.begin()
        await self._desk.ask(self.bot, QUESTION)
        await self.until(lambda: bool(self._desk.requests()), self._no_more)
        self.asking = self.steps()
        self.begin_second_half()
        pressing = asyncio.create_task(self._press())
        await self.until(lambda: any(ANSWER in each for each in self._desk.visible_messages()), self._press)
        self.deciding = self.steps()
        await pressing

    async def _no_more(self) -> None:
        """Slack sends the question again, and the bot reads Discord's history."""

    async def _press(self) -> None:
        """Press again until the press is taken."""
        await wait_until(self._desk.press, "the press is taken", TIMEOUT)

    async def _faults(self) -> list[str]:
        faults: list[str] = []
        if await self._shelf.stock() != TAKEN:
            faults.append(f"on the shelf: {await self._shelf.stock()}")
        if len(await self._shelf.ledger()) != 1:
            faults.append(f"in the ledger: {await self._shelf.ledger()}")
        if not self._desk.is_settled():
            faults.append(f"shown: {self._desk.visible_messages()}")
        if sum(ANSWER in each for each in self._desk.visible_messages()) != 1:
            faults.append(f"answered: {self._desk.visible_messages()}")
        return faults


@pytest_asyncio.fixture(scope="module")
async def lanes(
    tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> AsyncIterator[list[tuple[Lane, Shelf]]]:
    """Places for trials at the same time, each with a shelf of its own."""
    async with open_lanes(LANES, tmp_path_factory, database_url) as lanes, AsyncExitStack() as stack:
        shelves = (a_shelf(database_url, f"shelf_{number}") for number in range(LANES))
        yield [
            (lane, await stack.enter_async_context(each)) for lane, each in zip(lanes, shelves, strict=True)
        ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [SlackDesk, DiscordDesk])
async def test_a_change_is_made_once_whenever_the_bot_is_killed(
    kind: type[Desk], lanes: list[tuple[Lane, Shelf]]
) -> None:
    """Asked once, carried out once, answered once, and the buttons are gone."""
    undisturbed = Trial(*_placed(lanes[0], kind), end="")
    assert not await undisturbed.run()
    steps = dict.fromkeys(undisturbed.asking + undisturbed.deciding)
    assert len(steps) > 15
    # the agent keeps its memory in the same way on both platforms
    ends = [f"after {each}" for each in steps if kind is SlackDesk or "redis: memory" not in each]
    ends = ["before redis: PUT #1", *ends]
    await kill_at_each(ends, lanes, lambda place, end: Trial(*_placed(place, kind), end))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "shows", "settles"),
    [
        (SlackDirectDesk, "slack: chat.postMessage", "slack: chat.update"),
        (
            DiscordDirectDesk,
            "discord: POST /channels/{channel}/messages",
            "discord: PATCH /channels/{channel}/messages/{message}",
        ),
    ],
)
async def test_a_copy_is_shown_once_and_settled_whenever_the_bot_is_killed(
    kind: type[Desk], shows: str, settles: str, lanes: list[tuple[Lane, Shelf]]
) -> None:
    """Around the step that shows it, and the one that settles it."""
    undisturbed = Trial(*_placed(lanes[0], kind), end="")
    assert not await undisturbed.run()
    steps = list(dict.fromkeys(undisturbed.asking + undisturbed.deciding))
    shown = next(at for at, step in enumerate(steps) if step.startswith(shows))
    settled = max(at for at, step in enumerate(steps) if step.startswith(settles))
    ends = [f"after {steps[at]}" for at in (shown - 1, shown, shown + 1, shown + 2, settled - 1, settled)]
    await kill_at_each(ends, lanes, lambda place, end: Trial(*_placed(place, kind), end))


def _placed(lane: tuple[Lane, Shelf], kind: type[Desk]) -> tuple[Lane, Desk, Shelf]:
    return lane[0], kind(), lane[1]
