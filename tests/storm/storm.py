"""People who ask, and trouble while they are answered; both drawn from one seed."""

import asyncio
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from redis.asyncio import Redis

from tests.servers.discord import Channel, Discord
from tests.servers.discord import Message as DiscordMessage
from tests.servers.model import ModelServer
from tests.servers.slack import Slack
from tests.storm.cluster import Node

GENERAL = "C0GENERAL"
ALICE, BOB = "U0ALICE", "U0BOB"

LEASE_SECONDS = 2.0
_TOKEN = re.compile(r"\bq\d+\b")


@dataclass(slots=True)
class Question:
    """One message of a person, known by its token; `shown` reads what its thread shows of the bot."""

    token: str
    shown: Callable[[], str]
    place: str

    @property
    def answers(self) -> int:
        """How often the bot's messages name it."""
        return _TOKEN.findall(self.shown()).count(self.token)


@dataclass
class Storm:
    """`counts` says what was done; `questions` what was asked."""

    seed: int
    slack: Slack
    discord: Discord
    model: ModelServer
    nodes: list[Node]
    redis: Redis
    counts: Counter[str] = field(default_factory=Counter)
    questions: list[Question] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._slack_threads: list[tuple[str, str]] = []
        self._discord_threads: list[Channel] = []
        self.model.respond = _name_the_questions

    async def rage(self, seconds: float) -> None:
        """Ask and make trouble for so long."""
        async with asyncio.timeout(seconds + 30):
            end = asyncio.get_running_loop().time() + seconds
            await asyncio.gather(self._ask_until(end), self._trouble_until(end))
        for node in self.nodes:
            node.send(signal.SIGCONT)

    async def _ask_until(self, end: float) -> None:
        while asyncio.get_running_loop().time() < end:
            await self._ask()
            await asyncio.sleep(self._random.uniform(0.1, 0.7))  # the load, not a wait for something

    async def _ask(self) -> None:
        token = f"q{len(self.questions)}"
        ask = self._random.choice([self._ask_slack, self._ask_slack, self._ask_discord])
        await ask(token)

    async def _ask_slack(self, token: str) -> None:
        slack, kind = self.slack, self._random.choice(["mention", "direct", *["thread"] * 6])
        copies = self._random.choice([1, 1, 2, 3])
        last = self._random.random() < 0.5
        self.counts["duplicates"] += copies - 1
        self.counts["slack messages"] += 1
        if kind == "thread" and self._slack_threads:
            channel, root = self._random.choice(self._slack_threads[-6:])
            await slack.say(ALICE, channel, token, thread_ts=root, copies=copies)
        else:
            channel = slack.dm(BOB) if kind == "direct" else GENERAL
            text = token if kind == "direct" else f"{slack.mention} {token}"
            user = BOB if kind == "direct" else ALICE
            root = await slack.say(user, channel, text, copies=copies, mention_last=last)
            self._slack_threads.append((channel, root))
        self.questions.append(Question(token, lambda: self._slack_shown(channel, root), f"{channel} {root}"))

    def _slack_shown(self, channel: str, root: str) -> str:
        return "\n".join(each.shown for each in self.slack.replies(channel, root) if each.from_bot)

    async def _ask_discord(self, token: str) -> None:
        discord, kind = self.discord, self._random.choice(["mention", "direct", "thread"])
        self.counts["discord messages"] += 1
        if kind == "thread" and self._discord_threads:
            thread = self._random.choice(self._discord_threads[-4:])
            await discord.say(discord.alice, thread, token)
            self.questions.append(Question(token, lambda: self._discord_shown(thread), thread.name))
        elif kind == "direct":
            direct = discord.dm(discord.alice)
            await discord.say(discord.alice, direct, token)
            self.questions.append(Question(token, lambda: self._discord_shown(direct), "direct"))
        else:
            asked = await discord.say(discord.alice, discord.general, f"{discord.mention} {token}")
            self.questions.append(Question(token, lambda: self._thread_shown(asked), f"thread of {asked.id}"))

    def _thread_shown(self, asked: DiscordMessage) -> str:
        if asked.thread is None:
            return ""
        if asked.thread not in self._discord_threads:
            self._discord_threads.append(asked.thread)
        return self._discord_shown(asked.thread)

    def _discord_shown(self, channel: Channel) -> str:
        mine = (each for each in self.discord.messages(channel) if each.author is self.discord.bot)
        return "\n".join(each.content for each in mine)

    async def _trouble_until(self, end: float) -> None:
        troubles = [
            self._kill,
            self._kill,
            self._pause,
            self._roll,
            self._kill_redis,
            self._lose_slack_answer,
            self._lose_discord_answer,
            self._limit,
            self._cut_connections,
        ]
        while asyncio.get_running_loop().time() < end:
            await self._random.choice(troubles)()
            await asyncio.sleep(self._random.uniform(0.5, 2.5))

    async def _kill(self) -> None:
        self._random.choice(self.nodes).send(signal.SIGKILL)
        self.counts["kill -9"] += 1

    async def _roll(self) -> None:
        self._random.choice(self.nodes).send(signal.SIGTERM)
        self.counts["SIGTERM"] += 1

    async def _pause(self) -> None:
        node = self._random.choice(self.nodes)
        node.send(signal.SIGSTOP)
        self.counts["SIGSTOP"] += 1
        await asyncio.sleep(self._random.uniform(0.5, 2.5 * LEASE_SECONDS))
        node.send(signal.SIGCONT)

    async def _kill_redis(self) -> None:
        info = await self.redis.info("server")
        self.counts["redis kill -9"] += 1
        kill_process(int(info["process_id"]))

    async def _lose_slack_answer(self) -> None:
        methods = ["startStream", "appendStream", "stopStream", "postMessage", "update"]
        method = f"chat.{self._random.choice(methods)}"
        if self._random.random() < 0.7:
            self.slack.fail(method, after_applying=True)  # and then the connection is cut
        else:
            self.slack.fail(method, status=500)
        self.counts["slack faults"] += 1

    async def _lose_discord_answer(self) -> None:
        method, path = self._random.choice(
            [("POST", "/channels/*/messages"), ("PATCH", "/channels/*/messages/*")]
        )
        self.discord.fail(method, path, after_applying=True, drop=True)
        self.counts["discord faults"] += 1

    async def _limit(self) -> None:
        self.slack.fail("chat.appendStream", status=429, retry_after=1)
        self.slack.fail("chat.startStream", status=429, retry_after=1)
        self.discord.fail("PATCH", "/channels/*/messages/*", status=429, retry_after=0.5)
        self.counts["429"] += 3

    async def _cut_connections(self) -> None:
        self._random.choice(
            [
                self.discord.drop_gateway,
                self.discord.invalidate_sessions,
                self.slack.drop_sockets,
                self.slack.deafen_sockets,
            ]
        )()
        self.counts["connections cut"] += 1

    def unanswered(self) -> list[Question]:
        """What waits for its answer."""
        return [each for each in self.questions if each.answers == 0]

    def repeated(self) -> list[Question]:
        """What was answered more than once."""
        return [each for each in self.questions if each.answers > 1]

    def report(self) -> str:
        """What was done and what came of it, a line each."""
        facts = dict(sorted(self.counts.items()))
        facts |= {"lost": len(self.unanswered()), "twice": len(self.repeated())}
        return "\n".join([f"seed {self.seed}", *(f"{name:>20} {count}" for name, count in facts.items())])


def kill_process(pid: int) -> None:
    """Kill a server of this test without a word."""
    os.kill(pid, signal.SIGKILL)


def _name_the_questions(request: dict[str, object]) -> str:
    """Answer with the tokens that nobody has answered in this conversation yet."""
    messages = request["messages"]
    assert isinstance(messages, list)
    asked: list[str] = []
    for message in messages:
        if message["role"] == "assistant":
            asked = []
        elif message["role"] == "user":
            asked += _TOKEN.findall(message["content"])
    return "This is the answer to " + " and ".join(asked) + ", and nothing else."
