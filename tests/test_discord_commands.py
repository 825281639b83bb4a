"""Commands of Discord: registered once, answered to the caller alone, and a failure is told."""

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from bot.chat import Approval, Health, Message, StorageDown, TextDecision
from bot.chat.texts import NO_STORAGE
from bot.commands.decisions import Chooser, DecisionAnswer
from tests.servers.discord.interactions import Kind
from tests.servers.discord.records import MessageFlag
from tests.servers.discord.service import Discord
from tests.support import discord_platform
from tests.support.discord_platform import QUICK, Bot, bot_of, direct, ends, fixed_answer
from tests.support.wait import wait_until

timing = discord_platform.timing
server = discord_platform.server
bot = discord_platform.bot
live = discord_platform.live


COMMANDS = "/applications/*/commands"


async def test_agent_health_is_answered_to_the_caller_alone(server: Discord, live: Bot) -> None:
    for channel in (server.general, server.dm(server.alice)):
        shown = await server.command("agent-health", server.alice, channel)
        assert shown.ephemeral
        assert shown.content == "- 🟢 **redis** ok: ping ms 1"


async def test_a_long_health_report_is_split(server: Discord, redis: Redis) -> None:
    async def check_health() -> list[Health]:
        return [Health(name=f"part {number}", state="ok", evidence={"x": "y" * 80}) for number in range(60)]

    async with bot_of(server, redis, check_health) as bot, bot.listen():
        await server.wait_for_connections()
        shown = await server.command("agent-health")
        await wait_until(lambda: "part 59" in shown.messages[-1].content, "all of it is shown")
        assert len(shown.messages) > 1
        assert all(each.ephemeral for each in shown.messages)
        assert all(MessageFlag.SUPPRESS_EMBEDS in each.flags for each in shown.messages)


async def test_a_command_that_fails_says_so(server: Discord, redis: Redis) -> None:
    async def check_health() -> list[Health]:
        raise RuntimeError("broken")

    async with bot_of(server, redis, check_health) as bot, bot.listen():
        await server.wait_for_connections()
        shown = await server.command("agent-health")
        assert "Something went wrong" in shown.content
        assert "broken" not in shown.content


async def test_a_command_that_needs_a_store_which_is_down_gets_a_sentence(
    server: Discord, redis: Redis
) -> None:
    """As on Slack. Fault: it got a reference, as after an error of the bot's own."""

    async def check_health() -> list[Health]:
        raise StorageDown("Redis did not answer")

    async with bot_of(server, redis, check_health) as bot, bot.listen():
        await server.wait_for_connections()
        assert (await server.command("agent-health")).content == NO_STORAGE


async def test_a_press_that_fails_says_so(server: Discord, bot: Bot) -> None:
    """Fault: who pressed saw the bot think, for a quarter of an hour."""

    class Broken:
        async def decide(
            self, id: str, by: str, *, approve: bool, reason: str = "", name: str = ""
        ) -> DecisionAnswer:
            raise LookupError(id)

        async def decide_in_words(self, order: TextDecision, message: Message) -> str:
            raise AssertionError(order)

        async def choose(self, id: str, answer: int | str, by: Chooser) -> DecisionAnswer:
            raise AssertionError(id)

        async def find(self, id: str) -> None:
            raise AssertionError(id)

    bot.commands = replace(bot.commands, requests=Broken())
    request = Approval(
        id="7f3a9c21", title="Do it", action="x", effect="", expires_at=0, approvers=(), asked_in="q"
    )
    async with bot.listen():
        await server.wait_for_connections()
        await bot.reply(await direct(server), answer=fixed_answer(request))
        [asked] = [each for each in server.messages(server.dm(server.alice)) if each.buttons]
        pressed = await server.click(server.alice, asked, "Approve")
    assert "Something went wrong on my side." in pressed.content


async def test_commands_are_registered_once(server: Discord, bot: Bot) -> None:
    for times in range(1, 3):
        async with bot.listen():
            await server.wait_for_connections()
            await wait_until(lambda: server.count("GET", COMMANDS) == times, "they are compared")  # noqa: B023
            await wait_until(lambda: server.count("PUT", COMMANDS) == 1, "they are registered")
        await wait_until(lambda: not server.gateway.connections, "the gateway is left")
    assert len(server.sessions) == 2
    assert server.count("PUT", COMMANDS) == 1


@pytest.mark.parametrize("timing", [replace(QUICK, sync_backoff=0.01)], ids=["quick"])
@pytest.mark.parametrize(("method", "status"), [("GET", 403), ("GET", 200), ("PUT", 403)])
async def test_commands_that_cannot_be_registered_stop_nothing_and_are_tried_again(
    server: Discord, bot: Bot, method: str, status: int
) -> None:
    """Also when Discord's answer (200) is nothing that discord.py can read."""
    fault = server.fail(method, COMMANDS, times=10**6, status=status)
    async with bot.listen():
        await server.wait_for_connections()
        await server.say(server.alice, server.dm(server.alice), "hello")
        await server.answer(server.dm(server.alice), ends("hello"))
        await wait_until(lambda: fault.used >= 3, "it is tried again")
        fault.times = 0
        assert (await server.command("agent-health")).content


async def test_nobody_minds_what_discord_says_of_registered_commands(server: Discord, bot: Bot) -> None:
    server.fail("PUT", COMMANDS, status=200, after_applying=True)
    async with bot.listen():
        await server.wait_for_connections()
        assert (await server.command("agent-health")).content
    assert server.count("PUT", COMMANDS) == 1


async def test_a_slow_registration_of_commands_holds_up_no_connection(server: Discord, bot: Bot) -> None:
    server.fail("GET", COMMANDS, delay=30)
    async with bot.listen():
        await server.wait_for_connections()


async def test_a_command_that_cannot_be_read_is_apologised_for(server: Discord, live: Bot) -> None:
    broken = {"id": "1", "name": "agent-usage", "type": 1, "options": [7]}
    interaction, _ = server.interactions.send(Kind.COMMAND, server.alice, server.general, broken)
    await wait_until(lambda: bool(interaction.messages), "it is answered")
    assert "Something went wrong" in interaction.messages[0].content
