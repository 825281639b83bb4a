"""Slack with its users, and the model, in a process of their own: `python -m benchmarks.servers`.

It prints the variables for a bot as a line of JSON. Then it plays each `Load` that comes as a line, and
prints the `Outcome`. It ends with its input.
"""

import asyncio
import json
import os
import re
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.model import KEY, ModelServer, Script, Wire, model_server
from tests.servers.slack.service import BOT_USER, Message, Slack
from tests.servers.slack.workspace import Change
from tests.support.obedient_model import is_order, obey

ROOT = Path(__file__).parent.parent
TOKENS = 40
ANSWER = " ".join(f"word{number:02}" for number in range(TOKENS))
ANSWER_SECONDS = 30.0
"""Time after which a message counts as unanswered, and its user goes to the next thread."""
MODEL = "main-model"
Json = Any
NODE_ACKNOWLEDGES = "a payload with the acknowledgement"
"""Slack's SDK for Node sends an empty payload with it, which is harmless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Threads with `turns` questions each, in a channel of their own; `at_once` run at any time.

    A user waits `pause` seconds after an answer; `tail` is for what a bot does after the last one.
    """

    threads: int
    turns: int = 1
    at_once: int = 1
    pause: float = 0.0
    tail: float = 1.5
    sockets: int = 1
    """Connections of the bot to wait for first: one for each of its processes."""

    @property
    def total(self) -> int:
        return self.threads * self.turns


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Times of a load in seconds: to the first text in new threads, and later in known ones."""

    began: float = 0.0
    """`time.monotonic()`, which all processes of a machine share."""
    seconds: float = 0.0
    first_texts: list[float] = field(default_factory=list)
    later_texts: list[float] = field(default_factory=list)
    slack_calls: int = 0
    unanswered: int = 0


def wire(answer: str) -> Wire:
    """Return the answer as a service streams it, a word a chunk, as fast as the bot reads."""
    words = re.findall(r" ?\S+", answer)
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    choices: list[Json] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    usage = {"prompt_tokens": 100, "completion_tokens": len(words), "total_tokens": 100 + len(words)}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    bodies = [*({**head, "choices": [each]} for each in choices), {**head, "choices": [], "usage": usage}]
    chunks = [f"data: {json.dumps(body)}\n\n".encode() for body in bodies]
    return Wire(chunks=[*chunks, b"data: [DONE]\n\n"])


class Users:
    """Users of one Slack, each in a channel with the bot; the end of an answer is an event, not a look."""

    def __init__(self, slack: Slack, model: ModelServer) -> None:
        self._slack = slack
        self._model = model
        self._waiting: dict[tuple[str, str | None], asyncio.Future[Message]] = {}
        self._announce = slack.workspace.on_change
        self._channels = 0
        slack.workspace.on_change = self._watch
        answer = Script(wire=wire(ANSWER))
        model.respond = lambda request: obey(request) if is_order(request) else answer

    async def play(self, load: Load) -> Outcome:
        """Ask everything. Raises `AssertionError` if the bot broke a rule of Slack or of the model."""
        await self._slack.wait_for_connections(load.sockets, timeout=60)
        outcome = Outcome(began=time.monotonic())
        threads = iter(range(load.threads))
        async with asyncio.TaskGroup() as users:
            for number in range(load.at_once):
                users.create_task(self._ask_in_turn(f"U0USER{number:02}", threads, load, outcome))
        outcome.seconds = time.monotonic() - outcome.began
        await asyncio.sleep(load.tail)
        outcome.slack_calls = len(self._slack.calls)
        self._clear()
        return outcome

    async def _ask_in_turn(self, user: str, threads: Iterator[int], load: Load, outcome: Outcome) -> None:
        for _ in threads:
            self._channels += 1
            channel = self._slack.add_channel(f"C0BENCH{self._channels:06}", members=(user, BOT_USER))
            root = None
            for texts in (outcome.first_texts, *[outcome.later_texts] * (load.turns - 1)):
                try:
                    root, seconds = await self._ask(user, channel, root)
                except TimeoutError:
                    print(f"no answer to {user} in {channel}", file=sys.stderr)
                    outcome.unanswered += 1
                    break
                texts.append(round(seconds, 6))
                await asyncio.sleep(load.pause)

    async def _ask(self, user: str, channel: str, root: str | None) -> tuple[str, float]:
        """Return the thread, and the seconds to the first text, once the answer is whole.

        Raises `TimeoutError` if there is none.
        """
        asked = time.monotonic()
        ts = await self._slack.say(user, channel, f"{self._slack.mention} what now?", thread_ts=root)
        place = (channel, root or ts)
        whole = self._waiting[place] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await whole
        finally:
            del self._waiting[place]
        assert answer.first_text_at is not None
        return place[1], answer.first_text_at - asked

    def _watch(self, change: Change, message: Message, before: str) -> None:
        self._announce(change, message, before)
        is_whole = message.streaming_state != "in_progress" and message.visible_text.strip() == ANSWER
        if message.from_bot and is_whole:
            waiting = self._waiting.get((message.channel, message.thread_ts))
            if waiting and not waiting.done():
                waiting.set_result(message)

    def _clear(self) -> None:
        """Forget what was recorded, so that no load pays for the ones before."""
        faults = [each for each in self._slack.violations if NODE_ACKNOWLEDGES not in each]
        assert not faults + self._model.violations, (faults, self._model.violations)
        workspace = self._slack.workspace
        for record in (self._slack.calls, self._slack.deliveries, self._slack.violations):
            record.clear()
        for kept in (workspace.statuses, workspace.session_statuses, self._model.requests, self._model.paths):
            kept.clear()


async def serve() -> None:
    """Run both servers and play what comes on standard input."""
    lines = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async with model_server() as model, Slack() as slack:
        users = Users(slack, model)
        openai = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": MODEL}
        print(json.dumps(slack.environ | openai), flush=True)
        while line := await lines.readline():
            outcome = await users.play(Load(**json.loads(line)))
            print(json.dumps(asdict(outcome)), flush=True)


class Servers:
    """The other end: the servers as the contest sees them."""

    def __init__(self, process: Process, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._process = process

    async def play(self, load: Load) -> Outcome:
        """Play a load. Raises `RuntimeError` if it went wrong; the reason is on standard error."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asdict(load)).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("a load was not played to its end")
        return Outcome(**json.loads(line))


@asynccontextmanager
async def open_servers() -> AsyncIterator[Servers]:
    """Start the process; it ends with the block."""
    command = (sys.executable, "-m", "benchmarks.servers")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=dict(os.environ), stdin=PIPE, stdout=PIPE
    )
    assert process.stdin
    assert process.stdout
    try:
        yield Servers(process, json.loads(await process.stdout.readline()))
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


if __name__ == "__main__":
    asyncio.run(serve())
