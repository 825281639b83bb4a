"""The price of a platform: a folder, its settings and one line. The whole bot runs with the example."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.app import Bot
from bot.config import ConfigError, load_settings, settings_table, settings_with
from bot.main import PLATFORMS
from bot.platforms.adapter import Adapter
from tests import example_platform
from tests.example_platform.platform import Lines
from tests.servers.model import KEY, ModelServer, Script
from tests.support.bot import run_bot
from tests.support.wait import wait_until

WITH_LINES: Sequence[Adapter[Any]] = (*PLATFORMS, example_platform.ADAPTER)
"""The one line."""


class Client:
    """A user at the other end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, line: str) -> None:
        self._writer.write(f"{line}\n".encode())
        await self._writer.drain()

    async def next(self) -> str:
        async with asyncio.timeout(30):
            return (await self._reader.readline()).decode().rstrip("\n")

    async def answer(self, number: int) -> str:
        """The lines that are said until the message with this number is done."""
        said: dict[str, str] = {}
        while (line := await self.next()) != f"{number} done":
            assert line, "the connection was closed"
            match line.split(" ", 3):
                case [_, "says", at, text]:
                    said[at] = text
                case _:
                    pass
        return "\n".join(said.values())


def lines_of(bot: Bot) -> Lines:
    (lines,) = [each for each in bot.platforms if isinstance(each, Lines)]
    return lines


@asynccontextmanager
async def client(bot: Bot, user: str = "ada") -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", lines_of(bot).port)
    try:
        connected = Client(reader, writer)
        await connected.send(f"hello {user}")
        yield connected
    finally:
        writer.close()


@pytest.fixture
def options(redis: Redis, redis_url: str, database_url: str) -> dict[str, Any]:
    """Settings of the session's servers; Redis is empty."""
    return {"redis_url": redis_url, "database_url": database_url, "lines_port": 0}


@pytest.fixture
def with_model(options: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    return {**options, "openai_api_key": KEY, "openai_base_url": model.base_url, "openai_model": "main-model"}


async def test_a_message_is_answered_and_its_follow_up_remembered(with_model: dict[str, Any]) -> None:
    """Each user has a conversation of their own."""
    async with run_bot(WITH_LINES, **with_model) as bot, client(bot) as ada, client(bot, "bob") as bob:
        await ada.send("1 my name is Ada")
        assert await ada.next() == "1 taken"
        assert "my name is Ada (message 1 of" in await ada.answer(1)
        await ada.send("2 and who am I?")
        assert "and who am I? (message 2 of" in await ada.answer(2)
        await bob.send("1 and who am I?")
        assert "and who am I? (message 1 of" in await bob.answer(1)


async def test_a_message_that_is_sent_again_is_answered_once(
    with_model: dict[str, Any], model: ModelServer
) -> None:
    """The client repeats what it has not seen taken."""
    async with run_bot(WITH_LINES, **with_model) as bot, client(bot) as ada:
        await ada.send("1 once")
        await ada.answer(1)
        await ada.send("1 once")
        assert await ada.next() == "1 taken"
        await ada.send("2 twice")
        assert "(message 2 of" in await ada.answer(2)
    assert len(model.requests) == 2


async def test_an_answer_waits_for_a_user_who_comes_back(
    with_model: dict[str, Any], model: ModelServer
) -> None:
    """The finished answer is kept: the model is not asked again."""
    gate = asyncio.Event()
    model.script(Script(text="Here it is.", gate=gate))
    async with run_bot(WITH_LINES, **with_model) as bot:
        async with client(bot) as ada:
            await ada.send("1 hello?")
            await wait_until(lambda: bool(model.requests), "the model is asked")

        async def is_alone() -> bool:
            return not (await lines_of(bot).health()).evidence["connections"]

        await wait_until(is_alone, "the connection is closed")
        gate.set()
        async with client(bot) as ada:
            assert await ada.answer(1) == "Here it is."
    assert len(model.requests) == 1


async def test_a_stop_ends_the_answer(with_model: dict[str, Any], model: ModelServer) -> None:
    """Typed, as in any thread."""
    model.script(Script(text="never shown", gate=asyncio.Event()))
    async with run_bot(WITH_LINES, **with_model) as bot, client(bot) as ada:
        await ada.send("1 tell me a long story")
        await wait_until(lambda: bool(model.requests), "the model is asked")
        await ada.send("2 !stop")
        assert await ada.answer(1) == "Stopped."


async def test_a_file_is_refused_in_words(options: dict[str, Any]) -> None:
    """A line cannot carry one."""
    async with run_bot(WITH_LINES, **options) as bot, client(bot) as ada:
        await ada.send("1 EXPORT: select name from products limit 2")
        answer = await ada.answer(1)
    assert "I made the file" in answer
    assert "but I cannot send files here." in answer


async def test_what_is_not_a_message_is_an_error(options: dict[str, Any]) -> None:
    """The connection goes on, except where the user is not known."""
    async with run_bot(WITH_LINES, **options) as bot, client(bot) as ada, client(bot, "Ada!") as stranger:
        await ada.send("no number")
        assert await ada.next() == "error write a number and a text"
        await ada.send("1 hello")
        assert await ada.next() == "1 taken"
        assert await stranger.next() == "error say hello and your name"
        assert await stranger.next() == ""


async def test_health_and_administrators_include_the_platform(options: dict[str, Any]) -> None:
    """By its name, which is also the prefix of its ids."""
    async with run_bot(WITH_LINES, **options, admin_users="lines:ada") as bot, client(bot) as ada:
        await ada.send("1 !health")
        assert "**lines** ok: port" in await ada.answer(1)


def test_its_settings_are_part_of_all_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the table, in the roles, in the examples, and in what is checked."""
    monkeypatch.chdir(tmp_path)
    model = settings_with([each.settings for each in WITH_LINES])
    table = settings_table(model)
    assert "| `LINES_PORT` | port of the line protocol on loopback, 0 takes a free one |  |" in table
    assert "any of `slack`, `discord`, `http`, `lines`, `worker`" in table
    monkeypatch.setenv("LINES_PORT", "70000")
    monkeypatch.setenv("ADMIN_USERS", "ada")
    monkeypatch.setenv("BOT_ROLES", "lines")
    with pytest.raises(ConfigError) as caught:
        load_settings(model)
    port, admins = caught.value.problems
    assert port.startswith("LINES_PORT: ")
    assert "for example slack:U012AB or discord:80351 or lines:ada; not 'ada'" in admins
    monkeypatch.setenv("LINES_PORT", "0")
    monkeypatch.delenv("ADMIN_USERS")
    with pytest.raises(ConfigError, match="use lines and worker together"):
        load_settings(model)
