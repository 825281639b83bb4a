"""The Discord server for tests takes components v2, forms and presences as Discord does."""

import time
from typing import Any

import pytest

from tests.servers.discord import layouts
from tests.servers.discord.rules import Refusal
from tests.servers.discord.service import Discord
from tests.support import discord_client
from tests.support.discord_client import Bot, Raw
from tests.support.wait import wait_until

server = discord_client.server
raw = discord_client.raw
bot = discord_client.bot

V2 = 1 << 15
TEXT = {"type": 10, "content": "hello"}
BUTTON = {"type": 2, "style": 1, "label": "x", "custom_id": "x"}
ROW = {"type": 1, "components": [BUTTON]}
CARD = {"type": 17, "accent_color": 0xF0B232, "components": [TEXT, {"type": 14}, ROW]}


async def test_a_message_becomes_a_layout_and_never_a_text_again(server: Discord, raw: Raw) -> None:
    """https://docs.discord.com/developers/resources/message#edit-message"""
    path = f"/channels/{server.general.id}/messages"
    _, message = await raw("POST", path, {"content": "hello"})
    one = f"{path}/{message['id']}"
    assert (await raw("PATCH", one, {"flags": V2, "components": [CARD]}))[0] == 400, "its text stays"
    status, edited = await raw("PATCH", one, {"flags": V2, "content": None, "components": [CARD]})
    assert (status, edited["content"], edited["flags"]) == (200, "", V2)
    assert server.messages(server.general)[-1].content == "hello", "as its users see it"
    for body in ({"content": "x"}, {"flags": 0, "content": "x", "components": []}):
        assert (await raw("PATCH", one, body))[0] == 400
    assert (await raw("PATCH", one, {"components": [TEXT]}))[0] == 200, "the flag stays"


@pytest.mark.parametrize(
    "body",
    [
        {"components": [TEXT], "content": "x"},
        {"components": [TEXT], "embeds": [{"title": "x"}]},
        {"components": [TEXT | {"content": ""}]},
        {"components": [TEXT | {"content": "x" * 2_001}] * 2},
        {"components": [TEXT] * 41},
        {"components": [{"type": 17, "components": []}]},
        {"components": [{"type": 17, "components": [CARD]}]},
        {"components": [CARD | {"accent_color": 1 << 24}]},
        {"components": [BUTTON]},
        {"components": [CARD, CARD]},
        {"components": [{"type": 13, "file": {"url": "attachment://x.csv"}}]},
        {"components": [{"type": 13, "file": {"url": "https://x.y/x.csv"}}]},
        {"components": [{"type": 12, "items": []}]},
        {"components": [{"type": 14, "spacing": 3}]},
        {"components": [{"type": 18, "label": "x", "component": BUTTON}]},
    ],
)
async def test_a_layout_out_of_bounds_is_refused(server: Discord, raw: Raw, body: dict[str, Any]) -> None:
    server.general.granted.add("embed_links")
    status, error = await raw("POST", f"/channels/{server.general.id}/messages", {"flags": V2, **body})
    assert (status, error["code"]) == (400, 50035)


def label(**component: Any) -> dict[str, Any]:
    """Return a labelled field of a form."""
    return {"type": 18, "label": "x", "component": {"custom_id": "x", **component}}


WORDS = label(type=4, style=2)
OPTION = {"label": "x", "value": "x"}


@pytest.mark.parametrize(
    "components",
    [
        [],
        [WORDS] * 2,
        [BUTTON],
        [ROW],
        [WORDS | {"label": "x" * 46}],
        [WORDS | {"description": "x" * 101}],
        [label(type=4, style=2, label="twice")],
        [label(type=4, style=2, max_length=4_001)],
        [label(type=2, style=1)],
        [label(type=3, options=[])],
        [label(type=21, options=[OPTION])],
        [label(type=21, options=[{"label": "x", "value": str(number)} for number in range(11)])],
        [label(type=22, options=[OPTION, OPTION])],
        [label(type=4, style=2, custom_id=str(number)) for number in range(6)],
    ],
)
def test_a_form_out_of_bounds_is_refused(components: list[dict[str, Any]]) -> None:
    layouts.check_form([TEXT, WORDS])
    with pytest.raises(Refusal):
        layouts.check_form(components)


async def test_a_sixth_presence_within_twenty_seconds_is_a_violation(server: Discord, bot: Bot) -> None:
    (session,) = server.sessions
    for _ in range(5):
        await bot.ws.change_presence(status="online")
    await wait_until(lambda: len(session.presences) == 5, "they are taken")
    assert not server.violations
    session.presences[0] = (time.monotonic() - 21, None)
    await bot.ws.change_presence(status="dnd")
    await wait_until(lambda: len(session.presences) == 6, "it is taken")
    assert not server.violations
    await bot.ws.change_presence(status="dnd")
    await wait_until(lambda: bool(server.violations), "the sixth in 20 s")
    assert "presence" in server.violations[-1]
