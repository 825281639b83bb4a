"""One trial: a question with kills at given steps, and the conditions that must hold at the end."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.inbox import admin, inbox_health, scripts
from bot.storage.client import open_redis
from bot.storage.embedded import embedded_redis
from tests.crash.bot import Bot
from tests.crash.redis_proxy import RedisProxy
from tests.crash.scenes import TIMEOUT, Scene
from tests.crash.watch import Watch
from tests.servers.model import KEY, ModelServer, Script, model_server
from tests.support.wait import wait_until

FIRST, SECOND = "how much is it?", "what did you say?"
QUERY = "select 6 * 7 * 1001 as amount"
PLAN, RESULT, ANSWER, RECOLLECTION = "says plan", "42042", "says answer", "It was in my answer."
REFUSAL = "The model service refused this request. Please ask a shorter question, or start a new thread."

MARKS = {PLAN: "plan", RESULT: "result", ANSWER: "answer"}
"""Results of the model and the tool, by their marks. Once in the thread memory, they are not made again."""

_SCRIPTS = ("PUT", "CLAIM", "TAKE_BACK", "BEGIN", "KEEP", "POSTPONE", "FINISH", "FENCED")


def held(what: str) -> str:
    """Return the step after which one of `MARKS` must not be made again."""
    return f"redis: memory holds the {what} #1"


@dataclass(frozen=True, slots=True)
class Lane:
    """Resources that one trial at a time uses exclusively."""

    directory: Path
    redis: Redis
    proxy: RedisProxy
    database_url: str


@asynccontextmanager
async def open_lane(
    directory: Path, database_url: str, more: Mapping[str, str] | None = None
) -> AsyncIterator[Lane]:
    """Open a Redis with a proxy that knows the scripts which are steps of a turn, and `more` by name."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(embedded_redis(directory))
        redis = await stack.enter_async_context(open_redis(url, pool_size=5))
        known = {}
        steps = {name: getattr(scripts, name) for name in _SCRIPTS} | dict(more or {})
        for name, script in steps.items():
            # loaded before, or the first run of each would be a step that fails
            known[await redis.script_load(script)] = name
        path = url.removeprefix("unix://")
        proxy = await stack.enter_async_context(RedisProxy(path, known))
        yield Lane(directory, redis, proxy, database_url)


@asynccontextmanager
async def open_lanes(
    number: int,
    folders: pytest.TempPathFactory,
    database_url: str,
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[list[Lane]]:
    """Open so many lanes, for trials at the same time."""
    async with AsyncExitStack() as stack:
        lanes = (open_lane(folders.mktemp("lane"), database_url, more) for _ in range(number))
        yield [await stack.enter_async_context(each) for each in lanes]


class StepMissing(Exception):
    """Step that the turn did not take this time: the order of concurrent steps varies."""


@dataclass(slots=True)
class Outcome:
    """Outcome of a trial; `requests` counts the model's requests by purpose."""

    lives: list[list[str]]
    messages: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    tool_runs: int = 0
    problems: list[str] = field(default_factory=list)


async def trial(
    lane: Lane,
    scene: Scene,
    ends: Sequence[str] = (),
    *,
    is_refused: bool = False,
    makes_file: bool = False,
) -> Outcome:
    """Ask, end each life at its step in `ends`, let the last one answer, and ask again. Raises `StepMissing`.

    `is_refused`: the model refuses every request for the answer. `makes_file`: the tool creates a file, which
    is part of the answer.
    """
    await lane.redis.flushall()
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(model_server())
        await stack.enter_async_context(scene)
        log = lane.directory / "bot.log"
        log.unlink(missing_ok=True)
        bot = Bot(environ_of(lane, scene, model), log)
        stack.callback(bot.kill)
        played = _Trial(lane, scene, model, bot, is_refused=is_refused, makes_file=makes_file)
        try:
            await played.run(ends)
            return await played.outcome()
        except AssertionError as error:  # something did not happen in time
            return Outcome(played.watch.lives, problems=[str(error), *log.read_text().splitlines()[-20:]])


def environ_of(lane: Lane, scene: Scene, model: ModelServer) -> dict[str, str]:
    """Return the variables of a bot."""
    return {
        **scene.environ,
        "REDIS_URL": lane.proxy.url,
        "DATABASE_URL": lane.database_url,
        "DATA_DIR": str(lane.directory),
        "BOT_NAME": "bot",
        "HTTP_PORT": "0",
        "LEASE_SECONDS": "2",
        "DB_POOL_SIZE": "1",
        "LOG_FORMAT": "json",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": model.base_url,
    }


class _Trial:
    def __init__(
        self,
        lane: Lane,
        scene: Scene,
        model: ModelServer,
        bot: Bot,
        *,
        is_refused: bool,
        makes_file: bool,
    ) -> None:
        self._is_refused = is_refused
        self._tool = "export" if makes_file else "sql_query"
        self._lane = lane
        self._scene = scene
        self._model = model
        self._bot = bot
        self.watch = Watch(self._die)
        self._begun = self.watch.step_event(scene.begins)
        self._grown = self.watch.step_event(scene.grows)
        model.respond = self._respond
        model.steps = self._telling
        lane.proxy.steps = self.watch.over("redis")
        scene.observe(self.watch)
        self.watch.step_event("").set()

    def _die(self) -> None:
        self._bot.kill()
        self._lane.proxy.drop()
        self._scene.on_kill()

    def _begin_life(self, end: str) -> None:
        self._lane.proxy.marks = {mark.encode(): name for mark, name in MARKS.items()}
        self.watch.begin(end)

    def _respond(self, request: dict[str, Any]) -> Script | str:
        """Return a plan or an answer with the number of its request, so that no two are alike."""
        asked = self._count_requests()
        match _purpose(request):
            case "plan":
                text = f"I look it up, {PLAN} {asked['plan']}."
                return Script(text=text, tool_calls=[(self._tool, {"query": QUERY})])
            case "answer" if self._is_refused:
                return Script(status=400)
            case "answer":
                return Script(text=f"There it is, {ANSWER} {asked['answer']}.", gate=self._grown)
            case _:
                return RECOLLECTION

    @asynccontextmanager
    async def _telling(self, name: str) -> AsyncIterator[None]:
        """Observe a step of the model, which waits in the middle until its text is shown."""
        async with self.watch.over("model")(name):
            yield
        if name == "half told":
            await self._begun.wait()

    def _count_requests(self) -> Counter[str]:
        return Counter(_purpose(each) for each in self._model.requests)

    async def run(self, ends: Sequence[str]) -> None:
        self._bot.start()
        await self._scene.listens(self._bot, self._lane.redis)
        self._begin_life([*ends, ""][0])
        await self._scene.ask(self._bot, FIRST)
        for end, following in pairwise([*ends, ""]):
            await self._wait_for_end(end)
            self._begun.set()
            self._grown.set()
            self._begin_life(following)
            self._bot.start()
            if await self._is_ready():
                await self._scene.ask_again(self._bot)
        await self._wait_for_answer(1, self._last_words)
        self.watch.rest()
        await self._scene.ask(self._bot, SECOND)
        await self._wait_for_answer(2, RECOLLECTION)

    async def _is_ready(self) -> bool:
        """Wait until this life serves; return False if its end came first, as on a busy machine."""
        try:
            await self._bot.ready()
        except AssertionError:
            if not self.watch.ended:
                raise
        return not self.watch.ended

    async def _wait_for_end(self, end: str) -> None:
        async def is_over() -> bool:
            return self.watch.ended or await self._is_answered(1, self._last_words)

        await wait_until(is_over, f"{end}, in {self.watch.lives}", TIMEOUT)
        if not self.watch.ended:
            raise StepMissing(end)

    @property
    def _last_words(self) -> str:
        return REFUSAL if self._is_refused else ANSWER

    async def _wait_for_answer(self, number: int, text: str) -> None:
        try:
            await wait_until(
                lambda: self._is_answered(number, text), f"question {number} is answered", TIMEOUT
            )
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._scene.visible_messages()}") from None

    async def _is_answered(self, number: int, text: str) -> bool:
        shown = self._scene.visible_messages()
        is_shown = any(text in each for each in shown[number - 1 :])
        return is_shown and await admin.list_messages(self._lane.redis) == "The inbox is empty."

    async def outcome(self) -> Outcome:
        outcome = Outcome(self.watch.lives, self._scene.visible_messages(), self._count_requests())
        outcome.tool_runs = sum(each["event"] == "tool ran" for each in self._bot.log)
        outcome.problems += await self._scene.faults(self._bot)
        outcome.problems += self._model.violations
        outcome.problems += [str(each) for each in self._bot.log if each["level"] in ("error", "critical")]
        outcome.problems += self._memory_faults(outcome.requests)
        outcome.problems += await self._filing_faults()
        health = await inbox_health(self._lane.redis)
        if any(health.evidence[each] for each in ("waiting", "running", "postponed", "dead")):
            outcome.problems.append(f"the inbox is not empty: {health.evidence}")
        return outcome

    def _memory_faults(self, requests: Counter[str]) -> list[str]:
        """Return the faults in the thread memory behind the second answer."""
        told = [
            (each["role"], each["content"] if each["role"] != "tool" else RESULT in each["content"])
            for each in self._model.requests[-1]["messages"]
            if each["role"] not in ("system", "developer")
        ]
        plan, answer = (
            f"I look it up, {PLAN} {requests['plan']}.",
            f"There it is, {ANSWER} {requests['answer']}.",
        )
        due = [
            ("user", FIRST),
            ("assistant", plan),
            ("tool", True),
            ("assistant", f"{plan}\n\n{REFUSAL}" if self._is_refused else answer),
            ("user", SECOND),
        ]
        return [] if told == due else [f"remembered: {told}"]

    async def _filing_faults(self) -> list[str]:
        """Return the faults in the long-term memory: each answer has one record, or waits for it."""
        async with self._lane.redis.pipeline(transaction=True) as pipeline:
            pipeline.xlen("{bot}:filing")
            pipeline.keys("recall:record:turn:*")
            waiting, records = await pipeline.execute()
        due = 1 if self._is_refused else 2
        return [] if waiting + len(records) == due else [f"filed: {records}, waiting: {waiting}, due: {due}"]


def _purpose(request: dict[str, Any]) -> str:
    """Return the purpose of a model request."""
    newest = request["messages"][-1]
    if newest["role"] == "tool":
        return "answer"
    return "plan" if newest["content"] == FIRST else "recollection"


def faults(outcome: Outcome, undisturbed: Outcome) -> list[str]:
    """Return the faults of a trial with kills, compared with one without."""
    if outcome.problems:
        return outcome.problems
    problems = []
    shown = [_without_durations(text) for text in outcome.messages]
    due = [_without_durations(_with_counts(text, outcome.requests)) for text in undisturbed.messages]
    if shown != due:
        problems.append(f"shown: {shown}, due: {due}")
    made = Counter(plan=outcome.requests["plan"], result=outcome.tool_runs, answer=outcome.requests["answer"])
    for what, count in made.items():
        holding = [number for number, steps in enumerate(outcome.lives, 1) if held(what) in steps]
        # one in each life up to the first that has kept it; a write under way at the kill may have, too
        most = min(holding, default=len(outcome.lives))
        if not 1 <= count <= most:
            problems.append(f"the {what} was made {count} times, at most {most} are due")
    if outcome.requests["recollection"] != 1:
        problems.append(f"the second question was put {outcome.requests['recollection']} times")
    return problems


def _without_durations(text: str) -> str:
    """Return a text without the times that tools took, which differ from trial to trial."""
    return re.sub(r", [0-9.]+ s$", "", text, flags=re.MULTILINE)


def _with_counts(text: str, requests: Counter[str]) -> str:
    return text.replace(f"{PLAN} 1", f"{PLAN} {requests['plan']}").replace(
        f"{ANSWER} 1", f"{ANSWER} {requests['answer']}"
    )
