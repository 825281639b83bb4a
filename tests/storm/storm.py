"""Storm: users who ask, and faults during the answers, both drawn from one seed."""

import asyncio
import contextlib
import itertools
import os
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from bot.access.answers import AnswerStore
from bot.access.requests.request_store import MOST_OPEN, MOST_OPEN_QUESTIONS
from bot.concurrency.watchdog import HUNG
from bot.inbox import admin
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.storm.acts import Act, Deletion, Hang, Order, Unreadable, begin_act, begin_hang
from tests.storm.cluster import Node
from tests.storm.orders import Orders
from tests.storm.places import DiscordPlace, Place, SlackPlace
from tests.storm.talks import Choice, Feedback, Talk, begin_talk
from tests.storm.thinker import Thinker, tokens_in
from tests.support.wait import wait_until

LEASE_SECONDS = 2.0
READING_SECONDS = 1.5

MOST_REMEMBERED = 12
"""Most questions of a thread that the model sees in full: more are summarised."""

_RECALLED = 20
_RECALL_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Question:
    """One user message with its token and its place."""

    token: str
    place: Place

    @property
    def answers(self) -> int:
        """Return the number of the bot's messages that contain the token."""
        return tokens_in(self.place.visible_text()).count(self.token)


@dataclass
class Storm:
    """Storm with `counts` of its actions and its `questions`."""

    seed: int
    slack: Slack
    discord: Discord
    model: ModelServer
    nodes: list[Node]
    redis: Redis
    orders: Orders
    counts: Counter[str] = field(default_factory=Counter)
    questions: list[Question] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._slack_threads: list[Place] = []
        self._discord_threads: list[Place] = []
        self._direct = DiscordPlace(self.discord, dm=self.discord.dm(self.discord.alice))
        self._tokens = itertools.count()
        self._acting: list[tuple[Act, asyncio.Task[None]]] = []
        self._thinker = Thinker(self.orders)
        self.model.respond = self._thinker.respond

    async def greet(self) -> None:
        """Introduce the bot to the direct messages on Discord, which lists none, and to all its sources."""
        await self._ask_in(self._direct, self.new_token())
        await wait_until(lambda: not self.unanswered_questions(), "the first answer", timeout=30)
        await wait_until(self._knows_its_sources, "what was said before is known", timeout=30)

    async def _knows_its_sources(self) -> bool:
        sources: Any = await self.redis.zrange("{bot}:heard", 0, -1)
        return {name.split(b":")[0] for name in sources} == {b"slack", b"discord"}

    async def rage(self, seconds: float) -> None:
        """Ask and cause faults for `seconds`."""
        async with asyncio.timeout(seconds + 30):
            end = asyncio.get_running_loop().time() + seconds
            await asyncio.gather(self._ask_until(end), self._act_until(end), self._trouble_until(end))
        for node in self.nodes:
            node.send(signal.SIGCONT)

    async def _ask_until(self, end: float) -> None:
        while asyncio.get_running_loop().time() < end:
            ask = self._random.choice([self._ask_slack, self._ask_slack, self._ask_discord])
            await ask(self.new_token())
            await asyncio.sleep(self._random.uniform(0.1, 0.7))  # the load, not a wait for something

    async def _act_until(self, end: float) -> None:
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(self._random.uniform(0.5, 2))  # the load, as above
            # the bot refuses more open requests of one user
            if self._random.random() < 0.5:
                questions = self._open(Choice) < MOST_OPEN_QUESTIONS
                act: Act = await begin_talk(self._random, self, questions=questions)
            else:
                orders = self._open(Order) < MOST_OPEN
                act = await begin_act(
                    self._random, self.begin, self.new_token, self.orders.executions, orders=orders
                )
            self._add(act)

    def _open(self, kind: type[Act]) -> int:
        return sum(isinstance(act, kind) and not task.done() for act, task in self._acting)

    def _add(self, act: Act) -> None:
        self.counts[type(act).__name__.lower() + "s"] += 1
        self._acting.append((act, asyncio.create_task(act.run())))

    @property
    def acts(self) -> list[Act]:
        """Return all acts."""
        return [act for act, _ in self._acting]

    async def begin(self, text: str, user: str = ALICE) -> Place:
        """Mention the bot in a new place; `user` is the author on Slack."""
        if self._random.random() < 0.5:
            ts = await self.slack.say(user, GENERAL, f"{self.slack.mention} {text}")
            return SlackPlace(self.slack, user, GENERAL, ts)
        root = await self.discord.say(
            self.discord.alice, self.discord.general, f"{self.discord.mention} {text}"
        )
        return DiscordPlace(self.discord, root=root)

    async def begin_without_bot(self, text: str) -> Place:
        """Write as Bob in a new thread, without a mention."""
        if self._random.random() < 0.5:
            return SlackPlace(self.slack, ALICE, GENERAL, await self.slack.say(BOB, GENERAL, text))
        root = await self.discord.say(self.discord.bob, self.discord.general, text)
        self.discord.start_thread(self.discord.bob, root)
        return DiscordPlace(self.discord, root=root)

    def given(self, token: str) -> str:
        """Return all that users wrote in the request to the model that had to answer a token."""
        return "\n".join(self._thinker.texts(token))

    async def problems_of_acts(self) -> list[str]:
        """Return the problems of all acts."""
        found = [(act, await act.problem()) for act in self.acts]
        return [
            f"{type(act).__name__} {act.token} in {act.place.name}: {what}" for act, what in found if what
        ]

    async def wait_for_acts(self) -> None:
        """Wait until all acts have ended."""
        await asyncio.gather(*(task for _, task in self._acting))

    async def is_settled(self) -> bool:
        """Return True if nothing runs any more and there are no problems."""
        listing = await admin.list_messages(self.redis)
        is_idle = all(line.startswith(("dead", "The inbox is empty.")) for line in listing.splitlines())
        return is_idle and not await self.problems_of_acts()

    def unfinished(self) -> list[str]:
        """Return what is unfinished on Slack, except in deleted threads."""
        gone = [each.place.root for each in self.acts if isinstance(each, Deletion)]
        return [each for each in self.slack.unfinished() if not any(root in each for root in gone)]

    @property
    def given_up(self) -> set[str]:
        """Return the tokens of messages that must be dead letters in the end."""
        return {each.token for each in self.acts if isinstance(each, Hang)}

    @property
    def deleted(self) -> set[str]:
        """Return the tokens that may be dead letters, because their thread on Slack was deleted."""
        return {each.token for each in self.acts if isinstance(each, Deletion)}

    def new_token(self) -> str:
        """Return a token that no message has."""
        return f"q{next(self._tokens)}"

    async def _ask_in(self, place: Place, token: str) -> None:
        await place.say(token)
        self._note(place, token)

    def _note(self, place: Place, token: str) -> None:
        place.requests.append(token)
        self.questions.append(Question(token, place))

    async def _ask_slack(self, token: str) -> None:
        slack, kind = self.slack, self._random.choice(["mention", "direct", *["thread"] * 6])
        copies = self._random.choice([1, 1, 2, 3])
        last = self._random.random() < 0.5
        self.counts["duplicates"] += copies - 1
        self.counts["slack messages"] += 1
        if kind == "thread" and self._slack_threads:
            await self._ask_in(self._random.choice(self._slack_threads[-6:]), token)
            return
        user, channel, text = ALICE, GENERAL, f"{slack.mention} {token}"
        if kind == "direct":
            user, channel, text = BOB, slack.dm(BOB), token
        root = await slack.say(user, channel, text, copies=copies, mention_last=last)
        self._slack_threads.append(SlackPlace(slack, user, channel, root))
        self._note(self._slack_threads[-1], token)

    async def _ask_discord(self, token: str) -> None:
        discord, kind = self.discord, self._random.choice(["mention", "direct", "thread"])
        self.counts["discord messages"] += 1
        opened = [each for each in self._discord_threads[-6:] if each.visible_text()]
        if kind == "thread" and opened:
            await self._ask_in(self._random.choice(opened), token)
        elif kind == "direct":
            await self._ask_in(self._direct, token)
        else:
            root = await discord.say(discord.alice, discord.general, f"{discord.mention} {token}")
            self._discord_threads.append(DiscordPlace(discord, root=root))
            self._note(self._discord_threads[-1], token)

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
            self._kill_readers,
            self._cut_connections,
            self._hang,
        ]
        while asyncio.get_running_loop().time() < end:
            await self._random.choice(troubles)()
            await asyncio.sleep(self._random.uniform(0.5, 2.5))

    async def _kill(self) -> None:
        self._random.choice(self.nodes).send(signal.SIGKILL)
        self.counts["kill -9"] += 1

    async def _kill_readers(self) -> None:
        """Kill all processes while the context of a message, or what was missed, is read."""
        self.slack.slow("conversations.replies", READING_SECONDS)
        self.discord.fail("GET", "/channels/*/messages", delay=READING_SECONDS)
        before = self._readings
        with contextlib.suppress(AssertionError):  # nobody reads
            await wait_until(lambda: self._readings > before, "something is read", READING_SECONDS)
        for node in self.nodes:
            node.send(signal.SIGKILL)
        self.counts["kill -9"] += len(self.nodes)

    @property
    def _readings(self) -> int:
        calls = self.slack.count("conversations.replies")
        return calls + self.discord.count("GET", "/channels/*/messages")

    async def _roll(self) -> None:
        self._random.choice(self.nodes).send(signal.SIGTERM)
        self.counts["SIGTERM"] += 1

    async def _pause(self) -> None:
        node = self._random.choice(self.nodes)
        node.send(signal.SIGSTOP)
        self.counts["SIGSTOP"] += 1
        await asyncio.sleep(self._random.uniform(0.5, 2.5 * LEASE_SECONDS))
        node.send(signal.SIGCONT)

    async def _hang(self) -> None:
        """Hang the bots, one message at a time: each crashes every process twice."""
        if not any([await each.problem() for each in self.acts if isinstance(each, Hang | Unreadable)]):
            self._add(await begin_hang(self._random, self.begin, self.new_token()))

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

    async def vote_faults(self) -> list[str]:
        """Return how the stored votes and their number differ from those that users gave."""
        store = AnswerStore(self.redis)
        stored = {(each.answer, each.by): each.vote async for each in store.all_feedback()}
        talks = [each for each in self.acts if isinstance(each, Feedback)]
        given = dict(entry for each in talks for entry in each.votes.items())
        faults = [] if stored == given else [f"votes: stored {stored}, given {given}"]
        days = [day.decode() async for day in self.redis.scan_iter(match="{bot}:rated:*")]
        counts = [await store.count(day.rpartition(":")[2]) for day in days]
        counted = {vote: sum(each[vote] for each in counts) for vote in ("up", "down")}
        due = {vote: list(given.values()).count(vote) for vote in ("up", "down")}
        return faults if counted == due else [*faults, f"votes: counted {counted}, given {due}"]

    def unanswered_questions(self) -> list[Question]:
        """Return the unanswered questions."""
        return [each for each in self.questions if each.answers == 0]

    def repeated_questions(self) -> list[Question]:
        """Return the questions that were answered more than once."""
        return [each for each in self.questions if each.answers > 1]

    async def recall(self) -> list[str]:
        """Ask again in some places; return those where the thread memory differs from the shown answers.

        Overlapping turns would lose a message, and turns out of order would mix them up. So each token must
        be in the memory once, in the order of the answers.
        """
        places = {each.place for each in self.questions if len(each.place.requests) <= MOST_REMEMBERED}
        chosen = sorted(places, key=lambda each: each.name)
        chosen = self._random.sample(chosen, min(_RECALLED, len(chosen)))
        self.counts["threads recalled"] = len(chosen)
        for place in chosen:
            await self._ask_in(place, self.new_token())
        await wait_until(lambda: not self.unanswered_questions(), "all recalled", timeout=_RECALL_SECONDS)
        return [problem for place in chosen for problem in self._memory_faults(place)]

    def _memory_faults(self, place: Place) -> list[str]:
        remembered = tokens_in("\n".join(self._thinker.texts(place.requests[-1])))
        shown = tokens_in(place.visible_text())
        if sorted(remembered) != sorted(place.requests):
            return [f"memory: {place.name} was asked {place.requests} and remembers {remembered}"]
        if shown != remembered:
            return [f"order: {place.name} was asked {remembered} and answered {shown}"]
        return []

    def report(self) -> str:
        """Return the actions and their outcomes, one per line."""
        facts = dict(sorted(self.counts.items()))
        talks = [each for each in self.acts if isinstance(each, Talk)]
        talked = [(due, talk.answers(token)) for talk in talks for token, due in talk.due.items()]
        ends: Counter[int] = sum((each.ends for each in self.nodes), Counter())
        facts |= {
            "deaths of a hang": ends[HUNG],
            "lost": len(self.unanswered_questions()) + sum(due > answers for due, answers in talked),
            "twice": len(self.repeated_questions()) + sum(due < answers for due, answers in talked),
        }
        return "\n".join([f"seed {self.seed}", *(f"{name:>20} {count}" for name, count in facts.items())])


def kill_process(pid: int) -> None:
    """Kill a server of this test with SIGKILL."""
    os.kill(pid, signal.SIGKILL)
