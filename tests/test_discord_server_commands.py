"""The Discord server for tests handles commands, buttons and forms as Discord does."""

import contextlib
from collections.abc import AsyncIterator

import discord
import pytest
from discord import app_commands
from discord.http import Route

from tests.servers.discord.service import Discord, InteractionFailed, NotOffered
from tests.support import discord_client
from tests.support.discord_client import Bot, Json, Raw, online
from tests.support.wait import wait_until

server = discord_client.server
bot = discord_client.bot
raw = discord_client.raw


class CommandBot(Bot):
    """A bot with one of each kind of answer."""

    def __init__(self) -> None:
        super().__init__()
        self.tree.command(name="quick", description="answers at once")(quick)
        self.tree.command(name="slow", description="defers")(slow)
        self.tree.command(name="twice", description="answers twice")(twice)
        self.tree.command(name="silent", description="never answers")(silent)
        self.tree.command(name="form", description="opens a form")(form)
        self.tree.command(name="buttons", description="shows a button")(buttons)
        store = app_commands.Group(name="store", description="a group", default_permissions=ADMINISTRATORS)
        store.command(name="get", description="a subcommand")(store_get)
        self.tree.add_command(store)


Asked = discord.Interaction[discord.Client]
ADMINISTRATORS = discord.Permissions(administrator=True)


async def quick(interaction: Asked) -> None:
    await interaction.response.send_message("here", ephemeral=True)


async def slow(interaction: Asked) -> None:
    await interaction.response.defer(ephemeral=True, thinking=True)
    await interaction.followup.send("first")
    await interaction.followup.send("second", ephemeral=True)
    await interaction.edit_original_response(content="first, edited")


async def twice(interaction: Asked) -> None:
    await interaction.response.send_message("public")
    again = interaction.client.http, interaction.id, interaction.token
    with contextlib.suppress(discord.HTTPException):
        await again[0].request(
            Route("POST", f"/interactions/{again[1]}/{again[2]}/callback"),
            json={"type": 4, "data": {"content": "x"}},
        )


async def silent(interaction: Asked) -> None:
    pass


async def store_get(interaction: Asked, key: str, ttl: int = 0) -> None:
    await interaction.response.send_message(f"{key} {ttl}")


class Form(discord.ui.Modal, title="Form"):
    name = discord.ui.TextInput[discord.ui.Modal](label="Name", custom_id="name")

    async def on_submit(self, interaction: Asked) -> None:
        await interaction.response.send_message(f"hello {self.name.value}")


async def form(interaction: Asked) -> None:
    await interaction.response.send_modal(Form())


class Buttons(discord.ui.View):
    @discord.ui.button(label="Press", custom_id="press")
    async def press(self, interaction: Asked, button: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.edit_message(content=f"pressed by {interaction.user.name}", view=None)


async def buttons(interaction: Asked) -> None:
    await interaction.response.send_message("press", view=Buttons())


@pytest.fixture
async def commands(server: Discord) -> AsyncIterator[CommandBot]:
    bot = CommandBot()
    async with online(server, bot):
        yield bot


@pytest.mark.usefixtures("commands")
async def test_a_command_is_answered_for_the_callers_eyes_in_guild_and_dm(server: Discord) -> None:
    for channel in (server.general, server.dm(server.alice)):
        shown = await server.command("quick", server.alice, channel)
        assert (shown.content, shown.ephemeral) == ("here", True)
        assert not server.messages(channel)
    assert not server.violations


@pytest.mark.usefixtures("commands")
async def test_the_first_follow_up_fills_the_deferred_answer(server: Discord) -> None:
    shown = await server.command("slow")
    await wait_until(lambda: shown.content == "first, edited", "edited")
    assert [each.content for each in shown.messages] == ["first, edited", "second"]
    assert [each.ephemeral for each in shown.messages] == [True, True]
    assert not server.violations


@pytest.mark.usefixtures("commands")
async def test_a_second_response_is_refused(server: Discord) -> None:
    shown = await server.command("twice")
    await wait_until(lambda: bool(server.violations), "refused")
    assert "40060" in server.violations[0]
    assert [each.content for each in server.messages(server.general)] == [shown.content] == ["public"]


@pytest.mark.usefixtures("commands")
async def test_no_answer_within_the_deadline_is_a_violation(server: Discord) -> None:
    server.interactions.deadline = 0.2
    with pytest.raises(InteractionFailed):
        await server.command("silent")
    assert server.violations == ["silent was not answered within 0.2 s"]


async def test_a_late_answer_finds_no_interaction(server: Discord, commands: CommandBot) -> None:
    server.interactions.deadline = 0.0
    errors: list[discord.app_commands.AppCommandError] = []

    async def note(interaction: Asked, error: discord.app_commands.AppCommandError) -> None:
        errors.append(error)

    commands.tree.error(note)
    with pytest.raises(InteractionFailed):
        await server.command("quick")
    await wait_until(lambda: bool(errors), "the answer is refused")
    assert any("10062" in each for each in server.violations)


async def test_follow_ups_need_an_answer_before_and_fifteen_minutes_at_most(
    server: Discord, raw: Raw, commands: CommandBot
) -> None:
    server.interactions.deadline = 0.2
    tokens: list[str] = []

    @commands.event
    async def on_interaction(interaction: Asked) -> None:
        tokens.append(interaction.token)

    with pytest.raises(InteractionFailed):
        await server.command("silent")
    await server.command("quick")
    server.interactions.lifetime = 0.0
    path = f"/webhooks/{server.bot.id}"
    answers = [await raw("POST", f"{path}/{token}", {"content": "x"}) for token in tokens]
    assert [(status, answer["code"]) for status, answer in answers] == [(404, 10015), (401, 50027)]
    assert len(server.violations) == 3


@pytest.mark.usefixtures("commands")
async def test_subcommands_take_the_options_they_declare_from_those_to_whom_they_are_offered(
    server: Discord,
) -> None:
    admin = server.add_user("admin", administrator=True)
    shown = await server.command("store get", admin, options={"key": "greeting", "ttl": 5})
    assert (shown.content, shown.ephemeral) == ("greeting 5", False)
    for name, options in (
        ("store get", {}),
        ("store get", {"key": 1}),
        ("store get", {"key": "x", "colour": "red"}),
        ("store", {}),
        ("store set", {}),
    ):
        with pytest.raises(NotOffered):
            await server.command(name, admin, options=options)
    with pytest.raises(NotOffered):
        await server.command("store get", server.alice, options={"key": "x"})
    assert not server.violations


@pytest.mark.usefixtures("commands")
async def test_a_button_updates_its_message(server: Discord) -> None:
    await server.command("buttons")
    (message,) = server.messages(server.general)
    await server.click(server.bob, message, "Press")
    assert message.content == "pressed by bob"
    with pytest.raises(NotOffered):
        await server.click(server.bob, message, "Press")
    assert not server.violations


@pytest.mark.usefixtures("commands")
async def test_a_form_is_opened_and_sent_off(server: Discord) -> None:
    opened = await server.command("form")
    for wrong in ({}, {"name": ""}, {"name": "x" * 4_001}):
        with pytest.raises(NotOffered):
            await server.submit(opened, wrong)
    assert (await server.submit(opened, {"name": "alice"})).content == "hello alice"
    assert not server.violations


async def test_autocomplete_offers_choices(server: Discord) -> None:
    bot = Bot()

    @bot.tree.command(name="pick", description="pick one")
    async def pick(interaction: Asked, fruit: str) -> None: ...

    @pick.autocomplete("fruit")
    async def fruits(interaction: Asked, current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=each, value=each) for each in ("fig", "pear") if current in each]

    async with online(server, bot):
        assert await server.autocomplete("pick", "fruit", "f") == [{"name": "fig", "value": "fig"}]
    assert not server.violations


async def test_with_no_bot_online_a_command_fails_without_blame(server: Discord) -> None:
    async with online(server, CommandBot()):
        pass
    server.interactions.deadline = 0.05
    with pytest.raises(InteractionFailed):
        await server.command("quick")
    assert not server.violations


OPTION = {"name": "o", "description": "o", "type": 3}


@pytest.mark.parametrize(
    "command",
    [
        {"name": "Upper", "description": "x"},
        {"name": "two words", "description": "x"},
        {"name": "x" * 33, "description": "x"},
        {"name": "x", "description": ""},
        {"name": "x", "description": "x" * 101},
        {"name": "x", "description": "x", "options": [OPTION] * 26},
        {"name": "x", "description": "x", "options": [OPTION, OPTION]},
        {"name": "x", "description": "x", "options": [OPTION, OPTION | {"name": "p", "required": True}]},
        {"name": "x", "description": "x", "options": [OPTION | {"type": 99}]},
    ],
)
async def test_a_faulty_command_is_refused(server: Discord, raw: Raw, command: Json) -> None:
    status, answer = await raw("PUT", f"/applications/{server.bot.id}/commands", [command])
    assert (status, answer["code"]) == (400, 50035)
    assert len(server.violations) == 1
    assert (await raw("GET", f"/applications/{server.bot.id}/commands"))[1] == []


async def test_a_guilds_commands_are_offered_there_only(server: Discord, raw: Raw) -> None:
    await raw(
        "PUT",
        f"/applications/{server.bot.id}/guilds/{server.guild.id}/commands",
        [{"name": "local", "description": "here"}],
    )
    assert server.commands.find("local", server.guild.id)
    assert server.commands.find("local", None) is None
    assert server.commands.find("local", server.add_guild("other").id) is None
