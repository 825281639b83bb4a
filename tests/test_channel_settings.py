"""Instructions of the deployment, and settings of each channel by `/agent-channel`."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.access.channels import KEY, ChannelStore
from bot.agent import prompts
from bot.app import Intervals
from bot.chat import CHANNEL_SETTINGS, ChannelChange, ChannelSettings, Message, ThreadId
from bot.commands.channel import AUDIT, MOST_INSTRUCTIONS, MOST_SUGGESTED, ChannelCaller, ChannelCommand
from bot.commands.channel_texts import NO_MODELS, RESET_DONE, USAGE
from bot.config.reserved_keys import find_overlap
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support.bot import run_bot
from tests.support.platforms import platforms_with
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.talks import DiscordTalk, SlackTalk, Talk, ask, wait_until_passed_over
from tests.support.wait import wait_until

ADMIN = ChannelCaller(author="slack:U9", name="Eve", channel="slack:C1")
DEFAULTS = ChannelSettings(follow_up="partner", model="main-model")
IN_C1 = Message(
    id="m",
    thread=ThreadId("slack", "T1", "C1", "1.0"),
    author="slack:U1",
    text="hi",
    sent_at=1.0,
    addressed=True,
    channel="C1",
)


@pytest.fixture
def settings(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    return {**storage, **of_model(model), "channel_models": "other-model"}


@pytest.fixture(params=["slack", "discord"])
def talk(request: pytest.FixtureRequest, slack: Slack, discord: Discord) -> Talk:
    return SlackTalk(slack) if request.param == "slack" else DiscordTalk(discord)


def a_store(redis: Redis, *models: str) -> ChannelStore:
    return ChannelStore(redis, DEFAULTS, models)


def a_command(store: ChannelStore) -> ChannelCommand:
    return ChannelCommand(store, lambda author: author == ADMIN.author)


def system_message(model: ModelServer) -> str:
    """Return the system message of the newest request, without what describes the user at the end."""
    return str(model.requests[-1]["messages"][0]["content"]).partition("\n\nFor the user who asks")[0]


def results(model: ModelServer) -> list[str]:
    return [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "tool"]


def offered_tools(model: ModelServer) -> set[str]:
    return {each["function"]["name"] for each in model.requests[-1].get("tools", ())}


async def test_instructions_of_the_deployment_and_of_the_channel_reach_the_model_in_this_order(
    settings: dict[str, Any], model: ModelServer, talk: Talk
) -> None:
    """After the bot's own rules, which no instructions replace; other channels do not get them."""
    ours = {"instructions": "You work for Ada's shop."}
    async with run_bot(**settings, **talk.settings, **talk.admin, **ours):
        await talk.is_connected()
        await ask(talk, "alice", f"{talk.mention} hello")
        assert system_message(model).startswith(prompts.SYSTEM)
        assert system_message(model).endswith("You work for Ada's shop.")
        shown = await talk.command("bob", "instructions", text="Answer in *German*.")
        assert "Answer in *German*." in shown
        await ask(talk, "alice", "and now?")
        rules, _, rest = system_message(model).partition("You work for Ada's shop.")
        assert rules.startswith(prompts.SYSTEM)
        assert rest.endswith("Answer in *German*.")
        assert RESET_DONE in await talk.command("bob", "reset")
        await ask(talk, "alice", "and now?")
        assert "German" not in system_message(model)


async def test_a_thread_of_a_channel_has_its_settings_and_another_channel_has_not(
    settings: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """Also a direct message has not."""
    talk = SlackTalk(slack)
    async with run_bot(**settings, **talk.settings, **talk.admin):
        await talk.is_connected()
        await talk.command("bob", "instructions", text="Answer in German.")
        dm = slack.dm(ALICE)
        await slack.answer(dm, await slack.say(ALICE, dm, "hello"))
        assert "German" not in system_message(model)
        await ask(talk, "alice", f"{talk.mention} hello")
        assert "German" in system_message(model)


async def test_a_channel_has_its_own_policy(
    settings: dict[str, Any], model: ModelServer, redis: Redis, talk: Talk
) -> None:
    async with run_bot(**settings, **talk.settings, **talk.admin, follow_up="always"):
        await talk.is_connected()
        await ask(talk, "alice", f"{talk.mention} hello")
        assert "only messages that mention me" in await talk.command("bob", "follow-up", policy="mention")
        await wait_until_passed_over(redis, await talk.say("alice", "and now?"))
        assert "every message" in await talk.command("bob", "follow-up", policy="default")
        await ask(talk, "alice", "and now?")
    assert len(model.requests) == 2


async def test_a_channel_has_its_own_model_and_tools(
    settings: dict[str, Any], model: ModelServer, talk: Talk
) -> None:
    """Only a model that the operator allows; a tool that was taken away is not run either."""
    async with run_bot(**settings, **talk.settings, **talk.admin):
        await talk.is_connected()
        assert "is not allowed here" in await talk.command("bob", "model", name="huge-model")
        assert "`other-model`" in await talk.command("bob", "model", name="other-model")
        assert "`current_time`" in await talk.command("bob", "tools", names="current_time, memory_search")
        await ask(talk, "alice", f"{talk.mention} hello")
        assert model.requests[-1]["model"] == "other-model"
        assert offered_tools(model) == {"current_time", "memory_search"}
        model.script(Script(tool_calls=[("sql_schema", {})]))
        await ask(talk, "alice", "what tables are there?")
        await wait_until(lambda: bool(results(model)), "the model has the result")
        assert "This tool is not available here." in results(model)[0]
        await talk.command("bob", "model", name="main-model")
        await talk.command("bob", "tools", names="none")
        await ask(talk, "alice", "and now?")
        assert model.requests[-1]["model"] == "main-model"
        assert not offered_tools(model)


async def test_the_fallback_answers_for_the_model_of_a_channel(
    settings: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """As it does for the deployment's."""
    talk = SlackTalk(slack)
    models = {"channel_models": "third-model", "openai_fallback_model": "other-model"}
    async with run_bot(**settings | models, **talk.settings, **talk.admin):
        await talk.is_connected()
        await talk.command("bob", "model", name="third-model")
        model.script(Script(status=404))
        await ask(talk, "alice", f"{talk.mention} hello")
    assert [each["model"] for each in model.requests] == ["third-model", "other-model"]


async def test_the_settings_are_shown_with_who_changed_them(
    settings: dict[str, Any], talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    """To administrators alone; each use that changes something is one line in the log."""
    caplog.set_level(logging.INFO, "bot.commands")
    async with run_bot(**settings, **talk.settings, **talk.admin):
        await talk.is_connected()
        await talk.command("bob", "follow-up", policy="always")
        shown = await talk.command("bob", "show")
    [title, instructions, follow_up, model, tools] = shown.splitlines()
    assert "Settings of this channel" in title
    assert "none (default)" in instructions
    assert "every message in a thread where I take part, set by" in follow_up
    assert " UTC" in follow_up
    assert "main-model" in model
    assert "all (default)" in tools
    [line] = [each for each in caplog.records if each.getMessage() == AUDIT]
    by = talk.admin["admin_users"]
    assert (line.by, line.setting, line.value, line.outcome) == (by, "follow-up", "always", "done")  # type: ignore[attr-defined]


async def test_only_administrators_use_the_command(settings: dict[str, Any], slack: Slack) -> None:
    talk = SlackTalk(slack)
    async with run_bot(**settings, **talk.settings, **talk.admin):
        await talk.is_connected()
        for verb in ("show", "reset", "nonsense"):
            assert "Only administrators can do this" in await talk.command("alice", verb)
        assert "`instructions TEXT` tells the model" in await talk.command("bob", "nonsense")


async def test_a_guest_cannot_use_the_command_even_as_an_administrator(
    settings: dict[str, Any], slack: Slack
) -> None:
    slack.describe(BOB, is_restricted=True)
    talk = SlackTalk(slack)
    async with run_bot(**settings, **talk.settings, **talk.admin):
        await talk.is_connected()
        assert "never guests" in await talk.command("bob", "show")


async def test_every_process_gets_a_change_within_seconds(redis: Redis) -> None:
    """One that did not make it compares its copy with the version in Redis; a turn asks nothing."""
    ours, theirs = a_store(redis, "other-model"), a_store(redis, "other-model")
    assert ours.settings_of(IN_C1) == DEFAULTS
    await a_command(ours).run("model", "other-model", ADMIN)
    assert ours.settings_of(IN_C1).model == "other-model"
    assert theirs.settings_of(IN_C1).model == "main-model"
    await theirs.refresh()
    assert theirs.settings_of(IN_C1).model == "other-model"
    await redis.delete(KEY)  # a Redis that has lost its data
    await theirs.refresh()
    assert theirs.settings_of(IN_C1) == DEFAULTS


async def test_a_running_bot_looks_for_changes(
    settings: dict[str, Any], model: ModelServer, slack: Slack, redis: Redis
) -> None:
    """The change was made by another process."""
    talk = SlackTalk(slack)
    async with run_bot(platforms_with(), Intervals(refresh=0.05), **settings, **talk.settings) as bot:
        await talk.is_connected()
        change = ChannelChange(value="Answer in German.", by="slack:U9", by_name="Eve", at=1.0)
        await a_store(redis).change(f"slack:{GENERAL}", {"instructions": change})
        message = replace(IN_C1, channel=GENERAL)
        await wait_until(lambda: bool(bot.channels.settings_of(message).instructions), "it is read")
        await ask(talk, "alice", f"{talk.mention} hello")
    assert "German" in system_message(model)


async def test_who_set_something_is_shown_by_name_or_by_platform(redis: Redis) -> None:
    """A name may be missing; an id tells nobody who it was."""
    store = a_store(redis)
    for name, shown in (("Eve", "set by `Eve` on"), ("", "set by somebody on Slack on")):
        change = ChannelChange(value="always", by="slack:U07EVE", by_name=name, at=1.0)
        await store.change(ADMIN.channel, {"follow_up": change})
        told = await a_command(store).run("show", "", ADMIN)
        assert shown in told
        assert "U07EVE" not in told


async def test_a_model_that_is_not_allowed_any_more_is_not_used(redis: Redis) -> None:
    await a_command(a_store(redis, "other-model")).run("model", "other-model", ADMIN)
    later = a_store(redis)
    await later.refresh()
    assert later.settings_of(IN_C1).model == "main-model"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("instructions", USAGE.splitlines()[0]),
        ("instructions " + "x" * (MOST_INSTRUCTIONS + 1), "shorten them to 3,000"),
        ("follow-up sometimes", "There is no policy `sometimes`"),
        ("model gpt-9", "The model `gpt-9` is not allowed here: choose `main-model`"),
        ("tools sql query;drop", "These are not names of tools: `query;drop`"),
        ("tools made_up", "no effect until the bot has it: `made_up`"),
    ],
)
async def test_what_cannot_be_set_is_told_in_a_sentence(redis: Redis, text: str, sentence: str) -> None:
    assert sentence in await a_command(a_store(redis)).answer_text(text, ADMIN)


async def test_without_a_language_model_there_is_none_to_choose(redis: Redis) -> None:
    store = ChannelStore(redis, ChannelSettings(), [])
    assert await a_command(store).answer_text("model x", ADMIN) == NO_MODELS


async def test_instructions_of_several_lines_cannot_leave_their_place_in_the_answer(redis: Redis) -> None:
    """They are shown in a block of code that they cannot end."""
    command = a_command(a_store(redis))
    await command.answer_text("instructions\nBe brief.\n```\n@everyone", ADMIN)
    shown = await command.answer_text("show", ADMIN)
    assert shown.count("```") == 2
    assert "Be brief." in shown


async def test_settings_that_a_newer_version_wrote_are_passed_over(redis: Redis) -> None:
    store = a_store(redis)
    await a_command(store).run("follow-up", "always", ADMIN)
    fields = {"by": "", "by_name": "", "at": 0, "until": 1}
    newer = {
        "slack:C1 mood": fields | {"value": 1},
        "slack:C1 tools": fields | {"value": 5},
        "slack:C1 model": [1],
        "slack:C2 follow_up": fields | {"value": "sometimes"},
        "slack:C3 follow_up": fields | {"value": "mention"},
    }
    await redis.hset(KEY, mapping={name: json.dumps(value) for name, value in newer.items()})
    await redis.hset(KEY, mapping={"slack:C1 instructions": "{", "version": "9"})
    await store.refresh()
    assert store.settings_of(IN_C1) == replace(DEFAULTS, follow_up="always")
    assert store.settings_of(replace(IN_C1, channel="C2")) == DEFAULTS
    assert store.settings_of(replace(IN_C1, channel="C3")).follow_up == "mention"
    assert "always" in await a_command(store).answer_text("show", ADMIN)


def test_the_key_of_the_settings_is_reserved() -> None:
    assert find_overlap(KEY)


async def test_instructions_come_from_a_file(
    settings: dict[str, Any], model: ModelServer, slack: Slack, tmp_path: Path
) -> None:
    file = tmp_path / "instructions.md"
    file.write_text("\ufeffYou work for Ada's shop.\n", encoding="utf-8")
    talk = SlackTalk(slack)
    async with run_bot(**settings, **of_slack(slack), instructions_file=file):
        await talk.is_connected()
        await ask(talk, "alice", f"{talk.mention} hello")
    assert system_message(model).endswith("\nYou work for Ada's shop.")


def test_the_settings_of_the_command_are_those_that_a_turn_uses() -> None:
    assert set(CHANNEL_SETTINGS) == set(ChannelSettings.__dataclass_fields__)


def test_suggestions_complete_the_last_word_and_are_for_administrators(redis: Redis) -> None:
    """Most of them are as many as Discord shows."""
    store = a_store(redis, "other-model")
    tools = [SimpleNamespace(name=f"tool_{number}") for number in range(40)]
    command = replace(a_command(store), tools=tools)
    assert command.suggest("model", "OTH", ADMIN) == ["other-model"]
    assert command.suggest("model", "", ADMIN) == ["main-model", "other-model", "default"]
    assert command.suggest("tools", "tool_3, ool_39", ADMIN) == ["tool_3, tool_39"]
    assert command.suggest("tools", "non", ADMIN) == ["none"]
    assert len(command.suggest("tools", "", ADMIN)) == MOST_SUGGESTED
    for other in (replace(ADMIN, author="slack:U1"), replace(ADMIN, is_external=True)):
        assert command.suggest("model", "", other) == []


async def test_discord_suggests_models_and_tools(settings: dict[str, Any], discord: Discord) -> None:
    discord.alice.administrator = discord.bob.administrator = True
    admin = {"admin_users": {f"discord:{discord.alice.id}"}}
    async with run_bot(**settings, **of_discord(discord), **admin):
        await discord.wait_for_connections()
        shown = await discord.autocomplete("agent-channel model", "name", "other")
        assert [each["value"] for each in shown] == ["other-model"]
        shown = await discord.autocomplete("agent-channel tools", "names", "sql_q")
        assert [each["value"] for each in shown] == ["sql_query"]
        assert not await discord.autocomplete("agent-channel model", "name", "other", discord.bob)
    assert not discord.violations
