"""`/agent-memory` and `/memory` while the store or the platform fails: the answer is written for users."""

import math
from typing import Any, get_args

import pytest

from bot.chat import Message, StorageDown
from bot.chat.texts import NO_STORAGE
from bot.commands.commands import Commands
from bot.commands.memory import Caller, MemoryOverview, PersonalMemory, Verb
from bot.platforms import memory_command
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support.bot import run_bot
from tests.support.commands import no_health, nothing_to_stop
from tests.support.http_worker import serve_chat
from tests.support.settings import of_slack
from tests.support.wait import wait_until

DOWN = StorageDown("Redis did not answer: 10.0.0.5:6379")
CALLER = Caller("slack:U1", "T1")


class DownMemory(PersonalMemory):
    """Raises `DOWN` from every method."""

    async def show(self, caller: Caller) -> str:
        raise DOWN

    async def overview(self, caller: Caller, first: int = 0) -> MemoryOverview:
        raise DOWN

    async def list_facts(self, caller: Caller, words: str) -> str:
        raise DOWN

    async def correct_fact(self, caller: Caller, id: str, text: str) -> str:
        raise DOWN

    async def forget_fact(self, caller: Caller, id: str) -> str:
        raise DOWN

    async def summary(self, message: Message) -> str:
        raise DOWN

    async def export(self, caller: Caller) -> bytes:
        raise DOWN

    async def forget(self, caller: Caller, *, is_confirmed: bool) -> str:
        raise DOWN

    async def link(self, caller: Caller, code: str) -> str:
        raise DOWN

    async def unlink(self, caller: Caller) -> str:
        raise DOWN


async def unsent(data: bytes) -> str:
    raise AssertionError(data)


@pytest.mark.parametrize("verb", get_args(Verb))
@pytest.mark.parametrize("argument", ["", "1a2b3c4d text"])
async def test_a_store_that_is_down_is_told_without_its_address(verb: Verb, argument: str) -> None:
    """Fault: on Slack and Discord users read the error that is for the log."""
    assert await memory_command.run(DownMemory(), CALLER, verb, argument) == NO_STORAGE
    assert await memory_command.export(DownMemory(), CALLER, unsent) == NO_STORAGE


async def test_a_store_that_is_down_is_told_over_http_without_its_address() -> None:
    """Fault: callers read the error that is for the log."""
    commands = Commands(no_health, nothing_to_stop, memory=DownMemory())
    async with serve_chat(commands=commands) as setup, setup.client.get("/memory") as response:
        assert response.status == 503
        assert (await response.json())["message"] == NO_STORAGE


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("storage_limit_reached", "does not accept it (storage_limit_reached). Please ask an administrator"),
        ("missing_scope", "ask the bot's operator to install it again from manifest.yml"),
        ("internal_error", "Slack did not accept the upload. Please ask me again in a few minutes."),
    ],
)
async def test_a_file_that_slack_does_not_take_is_told_in_a_sentence(
    storage: dict[str, Any], slack: Slack, error: str, sentence: str
) -> None:
    """Fault: users read the method and the token that are for the operator."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        slack.fail("files.getUploadURLExternal", times=math.inf, error=error)
        done = await slack.command("/agent-memory", "export", ALICE, GENERAL)
        await wait_until(lambda: bool(done.response_url.uses), "the command is answered")
        assert sentence in str(done.response_url.uses[-1]["text"])
