"""`python -m bot` as a person starts it: a child process, configured only through its environment."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.servers.discord.service import Discord
from tests.servers.model import KEY, ModelServer, Script
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support.bot import Program, fork_program, program
from tests.support.wait import wait_until


@pytest.fixture
def own(tmp_path: Path, database_url: str) -> dict[str, str]:
    """A data directory of its own, and so a Redis of its own; Postgres is the session's."""
    return {"DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": database_url}


def of_model(model: ModelServer) -> dict[str, str]:
    return {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "main-model"}


async def chat(bot: Program, message: str, thread: str = "t1") -> str:
    async with aiohttp.ClientSession() as session:
        body = {"message": message, "thread_id": thread}
        async with session.post(f"http://127.0.0.1:{bot.port}/chat", json=body) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["response"])


def processes_in(directory: str) -> list[int]:
    """The processes that work in a data directory."""
    return [
        each.pid
        for each in psutil.process_iter(["cmdline"])
        if directory in " ".join(each.info["cmdline"] or [])
    ]


def started_anything(directory: Path) -> bool:
    """Return whether something was put into the data directory."""
    return any(directory.iterdir())


async def test_with_nothing_configured_it_answers_and_stops_without_a_trace(tmp_path: Path) -> None:
    """Embedded servers, the offline model and the page serve; at the end no process is left."""
    directory = str(tmp_path / "data")
    async with program({"DATA_DIR": directory}) as bot, aiohttp.ClientSession() as session:
        await bot.ready()
        base = f"http://127.0.0.1:{bot.port}"
        async with session.get(f"{base}/health") as response:
            assert (await response.json())["status"] == "healthy"
        async with session.get(base) as response:
            assert "text/html" in response.headers["Content-Type"]
        direct = {"operation": "set", "key": "test", "value": "hello"}
        async with session.post(f"{base}/redis/direct", json=direct) as response:
            assert (await response.json())["status"] == "success"
        assert "many" in await chat(bot, "SQL: select count(*) > 100 as many from orders")
        assert await bot.stop() == 0
    await wait_until(lambda: not processes_in(directory), "no process left")


async def test_memory_survives_kill_9(own: dict[str, str], model: ModelServer) -> None:
    """After kill -9 the next start finds the servers or their data, and remembers."""
    async with fork_program({**own, **of_model(model)}) as bot:
        await bot.ready()
        assert "message 1 of" in await chat(bot, "remember me")
        assert await bot.stop(signal.SIGKILL) == -signal.SIGKILL
    async with fork_program({**own, **of_model(model)}) as bot:
        await bot.ready()
        assert "message 2 of" in await chat(bot, "do you?")
        assert await bot.stop() == 0


async def test_slack_turn_survives_kill_9_in_the_middle(
    own: dict[str, str], model: ModelServer, slack: Slack
) -> None:
    """Killed while the model answers, the next start finishes the same turn: one answer, in its thread."""
    gate = asyncio.Event()
    model.script(Script(text="never seen", gate=gate), "The answer.")
    environ = {**own, **of_model(model), **slack.environ}
    async with fork_program(environ) as bot:
        await bot.ready()
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        await wait_until(lambda: len(model.requests) == 1, "the model is asked")
        await bot.stop(signal.SIGKILL)
    gate.set()
    async with fork_program(environ) as bot:
        await bot.ready()
        assert await slack.answer(GENERAL, ts) == "The answer."
        assert await bot.stop() == 0
    assert len(slack.bot_replies(GENERAL, ts)) == 1


async def test_slack_as_a_program(own: dict[str, str], model: ModelServer, slack: Slack) -> None:
    """Tokens in the environment switch Slack on; SIGTERM lets the answer under way finish and exits 0."""
    gate = asyncio.Event()
    model.script(Script(text="Finished in time.", gate=gate))
    async with program({**own, **of_model(model), **slack.environ}) as bot:
        await bot.ready()
        await slack.wait_for_connections()
        await wait_until(lambda: bool(bot.log_lines("Slack connected")), "said to be connected")
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        await wait_until(lambda: len(model.requests) == 1, "the model is asked")
        bot.process.send_signal(signal.SIGTERM)
        await wait_until(lambda: bool(bot.log_lines("stopping")), "stopping")
        gate.set()
        assert await bot.wait_for_end() == 0
        assert await slack.answer(GENERAL, ts) == "Finished in time."
    finished = bot.log_lines("turn finished")
    assert [line["platform"] for line in finished] == ["slack"]
    assert finished[0]["thread_id"].startswith("slack:")
    assert finished[0]["turn"].startswith("slack:")
    for secret in (slack.bot_token, slack.app_token, KEY):
        assert not any(secret in line for line in bot.output)


async def test_discord_as_a_program(own: dict[str, str], model: ModelServer, discord: Discord) -> None:
    """A token in the environment switches Discord on."""
    async with fork_program({**own, **of_model(model), **discord.environ}) as bot:
        await bot.ready()
        await discord.wait_for_connections()
        await wait_until(lambda: bool(bot.log_lines("Discord connected")), "said to be connected")
        question = await discord.say(discord.alice, discord.general, f"{discord.mention} hello")
        thread = await discord.thread_of(question)
        await discord.answer(thread, lambda messages: "You wrote: hello" in messages[-1].content)
        assert await bot.stop(signal.SIGINT) == 0
    assert not any(discord.token in line for line in bot.output)


async def test_every_fault_of_the_configuration_is_told_at_once(tmp_path: Path) -> None:
    """Exit code 2, one line a fault, no secret, nothing started."""
    environ = {
        "DATA_DIR": str(tmp_path),
        "HTTP_PORT": "70000",
        "SLACK_BOT_TOKEN": "wrong-secret-1",
        "MAX_WORKERS": "no",
    }
    async with program(environ) as bot:
        assert await bot.wait_for_end() == 2
    assert len(bot.output) == 3
    for name in ("HTTP_PORT", "SLACK_BOT_TOKEN", "MAX_WORKERS"):
        assert any(line.startswith(f"{name}: ") for line in bot.output)
    assert not any("wrong-secret-1" in line for line in bot.output)
    assert not started_anything(tmp_path)


@pytest.mark.parametrize("variable", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"])
async def test_wrong_slack_token_ends_the_program_with_one_line(own: dict[str, str], variable: str) -> None:
    """The line names the variable, not the token."""
    prefix = {"SLACK_BOT_TOKEN": "xoxb-", "SLACK_APP_TOKEN": "xapp-"}[variable]
    async with (
        Slack() as slack,
        fork_program({**own, **slack.environ, variable: f"{prefix}999-wrong"}) as bot,
    ):
        assert await bot.wait_for_end() == 2
    told = [line for line in bot.output if not line.startswith("{")]
    assert len(told) == 1
    assert variable in told[0]
    assert "999-wrong" not in "\n".join(bot.output)


async def test_wrong_discord_token_ends_the_program_with_one_line(own: dict[str, str]) -> None:
    """The line names the variable, not the token."""
    async with (
        Discord() as discord,
        fork_program({**own, **discord.environ, "DISCORD_TOKEN": "wrong-token-12345"}) as bot,
    ):
        assert await bot.wait_for_end() == 2
    told = [line for line in bot.output if not line.startswith("{")]
    assert len(told) == 1
    assert "DISCORD_TOKEN" in told[0]
    assert "wrong-token-12345" not in "\n".join(bot.output)


async def test_port_that_is_taken_is_told(own: dict[str, str]) -> None:
    """The second bot on a port ends with a line that names HTTP_PORT."""
    async with fork_program(own) as first:
        await first.ready()
        async with fork_program({**own, "HTTP_PORT": str(first.port)}) as second:
            assert await second.wait_for_end() == 2
        assert any("HTTP_PORT" in line for line in second.output if not line.startswith("{"))
        assert await first.stop() == 0


async def test_slack_that_is_unreachable_is_retried_while_the_rest_serves(
    own: dict[str, str], slack: Slack
) -> None:
    """Slack is away at start: HTTP answers meanwhile; Slack serves once it is back."""
    slack.outage = "unreachable"
    async with fork_program({**own, **slack.environ}) as bot:
        await bot.ready()
        assert "offline" in await chat(bot, "hello")
        slack.outage = None
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert "offline" in await slack.answer(GENERAL, ts)
        assert await bot.stop() == 0


async def test_second_signal_stops_at_once(own: dict[str, str], model: ModelServer) -> None:
    """With a turn that would use up the grace, a second signal does not wait for it."""
    model.script(Script(text="never", gate=asyncio.Event()))
    async with fork_program({**own, **of_model(model), "SHUTDOWN_GRACE": "600"}) as bot:
        await bot.ready()
        asking = asyncio.create_task(_ask_in_vain(bot))
        await wait_until(lambda: len(model.requests) == 1, "the model is asked")
        bot.process.send_signal(signal.SIGTERM)
        await wait_until(lambda: bool(bot.log_lines("stopping")), "stopping")
        assert await bot.stop() == 1
        await asking


async def _ask_in_vain(bot: Program) -> Any:
    try:
        return await chat(bot, "hello")
    except (aiohttp.ClientError, AssertionError) as error:
        return error


async def test_settings_command_prints_the_table(tmp_path: Path) -> None:
    """`python -m bot settings` needs no servers and exits 0."""
    async with program({"DATA_DIR": str(tmp_path)}, "settings") as bot:
        assert await bot.wait_for_end() == 0
    assert not started_anything(tmp_path)
