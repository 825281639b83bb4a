"""Users of a soak: they talk on Slack, Discord and HTTP, in threads that they leave after some turns."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import aiohttp

from tests.servers.discord.service import Channel, Discord
from tests.servers.discord.service import Message as DiscordMessage
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import BOT_USER, Slack

Json = Any
END = "the end"
ANSWER = " ".join(f"word{number:02}" for number in range(40)) + f", {END}"
TURNS = 12
"""Turns of a thread."""
PATIENCE = 60.0
"""Seconds until a question counts as unanswered."""

ROWS = "SELECT id, ordered_at, channel, status FROM orders ORDER BY id LIMIT 100"
BARS = "SELECT status, count(*) AS orders FROM orders GROUP BY status"
CALLS: dict[str, tuple[str, dict[str, Json]]] = {
    "time": ("current_time", {}),
    "rows": ("sql_query", {"query": ROWS}),
    "picture": ("chart", {"query": BARS, "kind": "bar", "x": "status", "y": "orders", "title": "Orders"}),
}
"""Tool calls, by the word of a question that asks for them."""
QUESTIONS = (*["what now?"] * 12, "the time?", "the rows?", "a picture?")

Ask = Callable[[str], Awaitable[None]]
"""Asks in one thread and waits for the whole answer. Raises `AssertionError` if there is none."""


def respond(request: dict[str, Json]) -> Script:
    """Answer as the model does: with a call, if the last message is a question that names one."""
    last = request["messages"][-1]
    named = [call for word, call in CALLS.items() if last["role"] == "user" and word in str(last["content"])]
    return Script(tool_calls=named) if named else Script(text=ANSWER)


def is_whole(shown: Sequence[DiscordMessage]) -> bool:
    """Return True if one of the bot's messages has the end of the answer."""
    return any(END in each.content for each in shown)


@dataclass(slots=True)
class Talk:
    """Users of all services; `turns` and `unanswered` by the name of the service."""

    slack: Slack
    discord: Discord
    model: ModelServer
    http_url: str
    pause: float
    """Seconds between an answer and the next question of a user."""
    turns: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    _numbers: "count[int]" = field(default_factory=count)

    async def run(self, users: int) -> None:
        """Talk as that many users on each service until cancelled."""
        self.model.respond = respond
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for number in range(users):
                group.create_task(self._talk("slack", partial(self._on_slack, f"U0SOAK{number:02}")))
                group.create_task(self._talk("discord", self._on_discord))
                group.create_task(self._talk("http", partial(self._on_http, session)))

    async def _talk(self, service: str, begin: Callable[[], Ask]) -> None:
        while True:
            ask = begin()
            for _ in range(TURNS):
                try:
                    await ask(random.choice(QUESTIONS))
                    self.turns[service] += 1
                except AssertionError as error:
                    print(f"{service}: {error}", file=sys.stderr)
                    self.unanswered[service] += 1
                    break
                self._forget()
                await asyncio.sleep(self.pause)

    def _on_slack(self, user: str) -> Ask:
        channel = self.slack.add_channel(f"C0SOAK{next(self._numbers):06}", members=(user, BOT_USER))
        root: str | None = None

        async def ask(question: str) -> None:
            nonlocal root
            ts = await self.slack.say(user, channel, f"{self.slack.mention} {question}", thread_ts=root)
            root = root or ts
            await self.slack.answer(channel, root, until=lambda text: END in text, timeout=PATIENCE)

        return ask

    def _on_discord(self) -> Ask:
        discord, place = self.discord, self.discord.add_channel(f"soak-{next(self._numbers)}")
        thread: Channel | None = None

        async def ask(question: str) -> None:
            nonlocal thread
            text = f"{discord.mention} {question}"
            asked: DiscordMessage = await discord.say(discord.alice, thread or place, text)
            thread = thread or await discord.thread_of(asked, timeout=PATIENCE)
            await discord.answer(
                thread,
                lambda shown: any(END in each.content for each in shown),
                after=asked,
                timeout=PATIENCE,
            )

        return ask

    def _on_http(self, session: aiohttp.ClientSession) -> Ask:
        thread = f"soak-{next(self._numbers)}"

        async def ask(question: str) -> None:
            body = {"message": question, "thread_id": thread}
            async with session.post(f"{self.http_url}/chat", json=body) as response:
                answer = await response.json()
            assert END in str(answer.get("response")), answer

        return ask

    def _forget(self) -> None:
        """Forget what the servers have recorded: they are to stay small themselves."""
        records = (self.slack.calls, self.slack.deliveries, self.discord.calls)
        for each in (*records, self.model.requests, self.model.paths):
            if len(each) > 1_000:
                each.clear()
