"""The form of `/agent-channel` on Slack: opened without arguments, stored in one step."""

from typing import Any

import pytest
from redis.asyncio import Redis

from bot.access.channels import ChannelStore
from bot.chat import ChannelSettings, Refuse
from bot.commands import channel_texts
from bot.commands.channel import ChannelCaller, ChannelCommand, ChannelForm
from bot.slack.channel_form import FormPlace, changes_in, channel_form, is_channel, load_place
from tests.servers.slack.service import ALICE, BOB, GENERAL, Modal, Slack
from tests.servers.slack.views import check_view
from tests.support.bot import run_bot
from tests.support.settings import of_slack
from tests.support.wait import wait_until

CALLER = ChannelCaller(author="slack:U1", name="ada", channel="slack:C1")


def a_command(redis: Redis) -> ChannelCommand:
    return ChannelCommand(ChannelStore(redis, ChannelSettings(), ()), lambda by: by == "slack:U1")


async def form_in(slack: Slack, user: str) -> Modal:
    """Use the command without arguments; return the form that it opens."""
    before = len(slack.modals)
    command = await slack.command("/agent-channel", " ", user, GENERAL)
    assert command.acked
    await wait_until(lambda: len(slack.modals) > before, "the form is opened")
    return slack.modals[-1]


async def test_without_arguments_the_command_opens_a_form_that_changes_and_resets_the_channel(
    storage: dict[str, Any], slack: Slack
) -> None:
    """If Slack opens none, for example because it was too late, the settings come as text."""
    async with run_bot(**storage, **of_slack(slack), admin_users={f"slack:{BOB}"}):
        await slack.wait_for_connections()
        assert "ADMIN_USERS" in await slack.command_text("/agent-channel", "", ALICE, GENERAL)
        assert not slack.modals
        form = await form_in(slack, BOB)
        await slack.submit(form, {"instructions": "Speak in verse.", "follow-up": "always"})
        assert not form.is_open
        await wait_until(lambda: bool(slack.ephemerals), "the answer")
        assert slack.ephemerals[-1].text == channel_texts.FORM_STORED
        shown = await slack.command_text("/agent-channel", "show", BOB, GENERAL)
        assert "Speak in verse." in shown
        assert "always" in shown

        await slack.submit(await form_in(slack, BOB), {"instructions": ""})
        shown = await slack.command_text("/agent-channel", "show", BOB, GENERAL)
        assert "Speak in verse." not in shown
        assert "always" in shown, "what was not changed in the form stays"
        await slack.submit(await form_in(slack, BOB), {"reset": "reset"})
        assert "set by" not in await slack.command_text("/agent-channel", "show", BOB, GENERAL)

        slack.fail("views.open", error="expired_trigger_id")
        told = await slack.command_text("/agent-channel", "", BOB, GENERAL)
        assert channel_texts.FORM_NOT_OPENED in told
        assert "follow-up" in told
    assert not slack.violations


async def test_an_input_that_cannot_be_stored_has_its_error_and_nothing_is_stored(redis: Redis) -> None:
    command = a_command(redis)
    errors = await command.submit({"instructions": "x" * 3_001, "follow-up": "always"}, CALLER)
    assert list(errors) == ["instructions"]
    assert not await command.store.changes("slack:C1")
    stranger = ChannelCaller(author="slack:U2", name="eve", channel="slack:C1")
    assert "ADMIN_USERS" in (await command.submit({"follow-up": "always"}, stranger))["follow-up"]
    assert isinstance(await command.read_form(stranger), Refuse)
    assert not await command.store.changes("slack:C1")


def test_the_largest_and_most_hostile_settings_are_a_form_that_slack_takes() -> None:
    form = ChannelForm("x" * 3_000, "no policy", "partner", "<!channel> *y* " * 1_000)
    place = FormPlace("C1", "D1 0")
    view = channel_form(form, place)
    check_view(view)
    assert load_place(view) == place
    assert "<!channel>" not in view["blocks"][2]["text"]["text"]


@pytest.mark.parametrize(
    ("id", "holds"), [("C0AB", True), ("D1", True), ("C1/C2", False), ("slack:C1", False), ("", False)]
)
def test_only_ids_of_channels_are_channels(id: str, holds: bool) -> None:
    assert is_channel(id) is holds


def test_a_form_stores_what_was_changed_in_it_and_nothing_else() -> None:
    """Two administrators who change different settings do not undo each other's change."""
    view = channel_form(ChannelForm("Be kind.", "", "partner", "-"), FormPlace("C1"))

    def typed(instructions: str | None, policy: str, *reset: str) -> Any:
        option = {"selected_option": {"value": policy}}
        boxes = {"selected_options": [{"value": each} for each in reset]}
        values = {"instructions": {"value": instructions}, "follow-up": option, "reset": boxes}
        return view | {"state": {"values": {name: {name: each} for name, each in values.items()}}}

    assert changes_in(typed("Be kind. ", "default")) == {}
    assert changes_in(typed(None, "default")) == {"instructions": "default"}
    assert changes_in(typed("Be kind.", "mention")) == {"follow-up": "mention"}
    assert changes_in(typed("Be brief.", "default", "reset")) == {
        "instructions": "Be brief.",
        "reset": "reset",
    }
