"""An event loop that hangs is a crash: the process ends, and what hung it is given up after two of them.

The bots are real, with a fault that `tests/support/hanging_bot.py` puts in.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from redis.asyncio import Redis

from bot.concurrency.watchdog import HUNG
from bot.inbox import keys
from tests.crash.bot import Bot
from tests.servers.discord.service import Discord
from tests.servers.model import KEY, ModelServer, Script
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support.bot import ROOT
from tests.support.wait import wait_until

NO_UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed here")
LEASE_SECONDS = 0.5
HUNG_LINE = "event loop hung, process ended"
PASSED_OVER = "event given up, the process has hung on it"


@asynccontextmanager
async def watched_loop(loop: str, *, last_seconds: float = 20, stderr: int = PIPE) -> AsyncIterator[Process]:
    """A loop under a watchdog, which obeys what is written to it; see `tests.support.watched_loop`."""
    arguments = ("-m", "tests.support.watched_loop", loop, str(LEASE_SECONDS), str(last_seconds))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=stderr
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=NO_UVLOOP)])
def loop(request: pytest.FixtureRequest) -> str:
    """Event loop under the watchdog."""
    return str(request.param)


def tell(process: Process, *lines: str) -> None:
    assert process.stdin
    process.stdin.write("".join(f"{line}\n" for line in lines).encode())


async def beats(process: Process, times: int = 1) -> None:
    """Wait until the loop has answered so often."""
    assert process.stdout
    for _ in range(times):
        tell(process, "ping")
        assert await process.stdout.readline() == b"pong\n"


@pytest.mark.parametrize("how", ["backtrack", "compute", "block"])
async def test_a_hang_ends_the_process_with_its_code_and_the_stacks(loop: str, how: str) -> None:
    """The lock may be kept or free, and CPU time used or not; the work is known exactly."""
    async with watched_loop(loop) as process:
        await beats(process)
        tell(process, f"hang {how}")
        out, err = await process.communicate()
        assert process.returncode == HUNG
        assert out == b"hanging\nnoted turn:one\n"
        assert f" in {how}\n".encode() in err, "the stacks name the function"
        assert b" in _die\n" in err, "the stacks are of all threads"


async def test_code_that_keeps_the_lock_and_handles_no_signal_is_ended_by_the_kernel(loop: str) -> None:
    """No thread and no handler of Python runs there; the stacks come from a handler in C."""
    async with watched_loop(loop) as process:
        await beats(process)
        tell(process, "hang keep")
        _, err = await process.communicate()
        assert process.returncode == -signal.SIGVTALRM
        assert b" in keep" in err


async def test_sigterm_does_not_save_a_loop_that_hangs(loop: str) -> None:
    """The loop, which would obey, never hears of it; the watchdog ends it within its bound."""
    async with watched_loop(loop) as process:
        tell(process, "hang compute")
        assert process.stdout
        assert await process.stdout.readline() == b"hanging\n"
        process.terminate()
        assert await process.wait() == HUNG


async def test_a_log_that_takes_nothing_does_not_keep_the_process_alive(loop: str) -> None:
    """A full pipe behind stderr blocks the log, and whoever writes the stacks."""
    unread, pipe = os.pipe()
    try:
        async with watched_loop(loop, last_seconds=1, stderr=pipe) as process:
            await beats(process)
            tell(process, "fill", "hang block")
            assert await process.wait() == -signal.SIGALRM
    finally:
        os.close(pipe)
        os.close(unread)


async def test_a_process_that_is_stopped_for_longer_than_the_lease_does_not_hang(loop: str) -> None:
    """SIGSTOP stops the watchdog, too: what it did not see does not count."""
    async with watched_loop(loop) as process:
        for _ in range(3):
            await beats(process)
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2 * LEASE_SECONDS)  # the fault itself
            process.send_signal(signal.SIGCONT)
        await _lives_on(process)


async def test_a_loop_that_is_starved_does_not_hang(loop: str) -> None:
    """Eight threads want the interpreter lock all the time."""
    async with watched_loop(loop) as process:
        tell(process, "load")
        await _lives_on(process)


async def _lives_on(process: Process) -> None:
    """Check that the loop goes on for two leases of its own time, then end it."""
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < began + 2 * LEASE_SECONDS:
        await beats(process)
    tell(process, "end")
    assert await process.wait() == 0


@pytest.fixture
def environ(tmp_path: Path, redis_url: str, database_url: str, model: ModelServer) -> dict[str, str]:
    """A bot with a Redis that outlives it, and a name by which it takes its work back."""
    return {
        "DATA_DIR": str(tmp_path / "data"),
        "BOT_NAME": "node",
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": model.base_url,
        "LEASE_SECONDS": "1",
        "HTTP_PORT": "0",
        "LOG_FORMAT": "json",
    }


@asynccontextmanager
async def faulty(environ: Mapping[str, str], directory: Path) -> AsyncIterator[Bot]:
    bot = Bot(environ, directory / "log", is_faulty=True)
    try:
        yield bot
    finally:
        bot.kill()


async def hangs(bot: Bot) -> str:
    """Wait until this life has ended of a hang; returns what hung."""
    assert await bot.wait_for_end() == HUNG, bot.output
    (line,) = bot.log_lines(HUNG_LINE)
    assert line["is_noted"]
    bot.kill()
    return str(line["work"])


async def ask(session: aiohttp.ClientSession, bot: Bot, text: str) -> str:
    """Ask over HTTP, with the text for a key; empty when the bot dies meanwhile."""
    body = {"message": text, "thread_id": text.partition(" ")[0]}
    try:
        async with session.post(f"{bot.url}chat", json=body, headers={"Idempotency-Key": text}) as answer:
            return str((await answer.json()).get("response"))
    except aiohttp.ClientError:
        return ""


@pytest.mark.parametrize("text", ["hung [answer:backtrack]", "hung [show:block]"])
async def test_a_turn_that_hangs_is_given_up_after_two_deaths_and_its_neighbour_is_answered(
    redis: Redis, environ: Mapping[str, str], model: ModelServer, tmp_path: Path, text: str
) -> None:
    """While the agent works, or while the answer is shown. The neighbour counts no crash."""
    gate = asyncio.Event()
    model.respond = lambda request: Script(text="Late.", gate=gate) if _asks(request, "slow") else text
    async with faulty(environ, tmp_path) as bot, aiohttp.ClientSession() as session:
        bot.start()
        await bot.ready()
        slow = asyncio.create_task(ask(session, bot, "slow"))
        await wait_until(lambda: bool(model.requests), "the neighbour is at work")
        await ask(session, bot, text)
        assert await _thread(redis, await hangs(bot)) == "http:api:hung"
        bot.start()
        assert await _thread(redis, await hangs(bot)) == "http:api:hung"
        bot.start()
        await bot.ready()
        answer = await ask(session, bot, text)
        assert "I stopped responding twice while working on this, so I gave up." in answer
        (given_up,) = bot.log_lines("turn given up")
        assert answer.endswith(f"reference to the bot's operator: `{given_up['reference']}`.")
        gate.set()
        assert [await slow, await ask(session, bot, "slow")] == ["", "Late."]
        crashes = {
            await _thread(redis, keys.text(key).removeprefix("{bot}:")): await redis.hget(key, "crashes")
            for key in await redis.keys("{bot}:turn:*")
        }
        assert crashes == {"http:api:slow": b"0", "http:api:hung": b"2"}


async def _thread(redis: Redis, work: str) -> str:
    thread: Any = await redis.hget(f"{{bot}}:seen:{work.removeprefix('turn:')}", "thread")
    return bytes(thread).decode()


def _asks(request: dict[str, Any], word: str) -> bool:
    return any(word in str(each["content"]) for each in request["messages"] if each["role"] == "user")


async def test_an_event_of_slack_that_hangs_its_reader_is_passed_over_after_two_deaths(
    redis: Redis, environ: Mapping[str, str], model: ModelServer, slack: Slack, tmp_path: Path
) -> None:
    """Slack sends it again and again, and the history has it, too; who writes next is answered."""
    async with faulty({**environ, **slack.environ}, tmp_path) as bot:
        bot.start()
        await slack.wait_for_connections(timeout=20)
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} [take:block]")
        assert await hangs(bot) == f"event:slack:{GENERAL}:{ts}"
        bot.start()
        assert await hangs(bot) == f"event:slack:{GENERAL}:{ts}"
        bot.start()
        await bot.ready()
        await slack.wait_for_connections(timeout=20)
        await wait_until(lambda: bool(bot.log_lines(PASSED_OVER)), "it is passed over", timeout=20)
        after = await slack.say(ALICE, GENERAL, f"{slack.mention} are you there?")
        assert "are you there?" in await slack.answer(GENERAL, after)


async def test_a_message_of_discord_that_hangs_its_reader_is_passed_over_after_two_deaths(
    redis: Redis, environ: Mapping[str, str], model: ModelServer, discord: Discord, tmp_path: Path
) -> None:
    """Discord sends it once, but it is in the history; who writes next is answered."""
    async with faulty({**environ, **discord.environ}, tmp_path) as bot:
        bot.start()
        await discord.wait_for_connections(timeout=20)
        await wait_until(lambda: _is_heard(redis), "the history is known")
        asked = await discord.say(discord.alice, discord.general, f"{discord.mention} [take:block]")
        assert await hangs(bot) == f"event:discord:{asked.id}"
        bot.start()
        assert await hangs(bot) == f"event:discord:{asked.id}"
        bot.start()
        await wait_until(lambda: bool(bot.log_lines(PASSED_OVER)), "it is passed over", timeout=20)
        await discord.wait_for_connections(timeout=20)
        after = await discord.say(discord.alice, discord.general, f"{discord.mention} are you there?")
        thread = await discord.thread_of(after)
        await discord.answer(thread, lambda messages: "are you there?" in messages[-1].content)


async def _is_heard(redis: Redis) -> bool:
    return await redis.zscore("{bot}:heard", "discord:0/1") is not None


async def test_embedded_servers_end_with_a_bot_that_hangs(environ: dict[str, str], tmp_path: Path) -> None:
    """The kernel frees the locks of a process that ends itself, as it does under kill -9."""
    del environ["REDIS_URL"]
    async with faulty(environ, tmp_path) as bot, aiohttp.ClientSession() as session:
        bot.start()
        await bot.ready()
        assert processes_in(tmp_path)
        await ask(session, bot, "hung [answer:keep]")
        assert await bot.wait_for_end() == -signal.SIGVTALRM
        await wait_until(lambda: not processes_in(tmp_path), "no process left", timeout=20)


def processes_in(directory: Path) -> list[int]:
    """The processes that work in a data directory."""
    return [
        each.pid
        for each in psutil.process_iter(["cmdline"])
        if str(directory / "data") in " ".join(each.info["cmdline"] or [])
    ]
