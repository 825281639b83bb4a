"""Payloads of the gateway in every shape: each is read rightly, and none stops those that follow."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from bot.chat import Correction, Event, Json, Message
from tests.servers.discord.service import Discord, File
from tests.servers.model import KEY, ModelServer
from tests.support.bot import run_bot
from tests.support.discord_shard import (
    ME,
    Ear,
    sample,
    samples,
)
from tests.support.platforms import QUICK_DISCORD, platforms_with


def describe_event(event: Event | discord.Interaction) -> dict[str, Json]:
    """Return an event as the samples spell it: with its kind, and without fields that are empty."""
    if isinstance(event, discord.Interaction):
        data: Any = event.data or {}
        place = {"guild": event.guild_id, "channel": event.channel_id, "by": event.user.id}
        return dict(
            _without_empty(
                {"kind": "Interaction", "name": data.get("name") or data.get("custom_id"), **place}
            )
        )
    return dict(_without_empty({"kind": type(event).__name__, **asdict(event)}))


def _without_empty(value: Json) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_empty(each) for key, each in value.items() if each}
    return [_without_empty(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", samples())
async def test_each_payload_is_heard_as_its_sample_says(name: str) -> None:
    """Through discord.py itself, as the gateway would; and a good message after it is heard as well."""
    data = sample(name)
    async with Ear.open(frozenset(data.get("bots", ()))) as ear:
        await ear.hear(data["event"], data["payload"])
        assert [describe_event(each) for each in [*ear.heard, *ear.interactions]] == data["expected"]
        ear.heard.clear()
        await ear.hear("MESSAGE_CREATE", sample("direct")["payload"])
        described = [describe_event(each) for each in ear.heard]
        told = [["", 0, each.locale.value] for each in ear.interactions]  # by the same user
        assert [each.pop("locale") for each in described if "locale" in each] == told
        assert described == sample("direct")["expected"]


def test_what_is_heard_can_be_stored() -> None:
    for name in samples():
        assert json.loads(json.dumps(sample(name)["expected"])) == sample(name)["expected"]


# --- payloads that nobody foresaw

JUNK: st.SearchStrategy[Json] = st.sampled_from(
    [None, 7, -1, 2**70, 1.5, True, "", "x", [], [None], [[]], {}, {"id": "x"}]
)


def paths(value: Json, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a payload, however deep."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*at, key)
        yield from paths(each, (*at, key))


@st.composite
def broken_payloads(draw: st.DrawFn) -> tuple[str, Json]:
    """A sample with one to three keys dropped, or their values replaced by something else."""
    data = sample(draw(st.sampled_from(samples())))
    payload = copy.deepcopy(data["payload"])
    for _ in range(draw(st.integers(1, 3))):
        known = list(paths(payload))
        if not known:
            break
        *above, key = draw(st.sampled_from(known))
        place = payload
        for step in above:
            place = place[step]
        if draw(st.booleans()):
            del place[key]
        else:
            place[key] = copy.deepcopy(draw(JUNK))
    return data["event"], payload


@given(broken_payloads())
async def test_no_payload_ends_the_connection_or_costs_the_next_message(broken: tuple[str, Json]) -> None:
    """Random damage, through discord.py itself: what is heard all the same can be stored."""
    async with Ear.open(frozenset({"discord:77"})) as ear:
        await ear.hear(*broken)
        for event in ear.heard:
            if isinstance(event, Message | Correction):
                message = event if isinstance(event, Message) else event.message
                assert Message.from_json(json.loads(json.dumps(message.to_json()))) == message
                assert all(isinstance(each, str) for each in (message.text, message.author_name))
        ear.heard.clear()
        await ear.hear("MESSAGE_CREATE", sample("direct")["payload"])
        described = [describe_event(each) for each in ear.heard]
        assert all(each.pop("locale", "told by an interaction") for each in described)
        assert described == sample("direct")["expected"]


# --- the whole bot

COMMON = {
    "mention": ["how many orders?"],
    "long": ["last."],
    "reply_ping": ["is this right?", "> Revenue was 12,000 in May.", "id,total"],
    "reply_deleted": ["is this right?", "> [It was deleted.]"],
    "reply_to_alert": ["what is this?", "> checkout fails for 4 % of requests"],
    "forward_text": ["> the old news"],
    "forward_command": ["> approve 7f3a9c21"],
    "forward_file": ["id,total"],
    "forward_embed": ["> Service: checkout"],
    "poll": ["> When do we ship?", "> - Monday: 3 votes"],
    "sticker": ["[sticker: wave]"],
    "voice_message": ["[voice message of 12 seconds]", "voice-message.ogg could not be read"],
    "broken_poll": ["hello", "> [A part of it could not be read: a poll.]"],
}
"""Samples, and what the model is shown of each; what others have written is behind the sign of data."""

ADDRESS = re.compile(r"https://cdn\.discordapp\.com/[^\"]+/([^\"/?]+)\?[^\"]*")


async def test_what_people_send_reaches_the_model(
    redis: Redis,
    redis_url: str,
    database_url: str,
    model: ModelServer,
    discord: Discord,
) -> None:
    """The most common samples, with the whole bot over the protocol: text, author and files, as data."""
    discord.limit("send", 1_000, 1.0)
    discord.limit("edit", 1_000, 1.0)
    direct = discord.dm(discord.alice)
    settings = {
        "redis_url": redis_url,
        "database_url": database_url,
        "openai_api_key": KEY,
        "openai_base_url": model.base_url,
        "openai_model": "main-model",
        "discord_token": discord.token,
        "discord_api_url": discord.url,
    }

    def kept(address: re.Match[str]) -> str:
        """The file at an address, on the host of the test."""
        content = b"OggS\x00\x02\xff\xfe" * 9 if address[1].endswith("ogg") else b"id,total\n1,2\n"
        return discord.world.attach(direct, File(address[1], content)).url

    async with run_bot(platforms_with(replace(QUICK_DISCORD, edit_interval=0.01)), **settings):
        await discord.wait_for_connections()
        for name, expected in COMMON.items():
            payload = json.loads(ADDRESS.sub(kept, json.dumps(sample(name)["payload"])))
            text = payload["content"].replace(f"<@{ME}>", "").strip()
            named = {"id", "channel_id", "guild_id", "channel_type", "author", "member", "content"}
            named |= {"mentions", "timestamp", "nonce"}
            more = {key: value for key, value in payload.items() if key not in named}
            message = await discord.say(discord.alice, direct, text, more=more)
            await discord.answer(direct, lambda shown: "conversation)" in shown[-1].content, after=message)
            told_to_model = model.requests[-1]["messages"][-1]["content"]
            assert [each for each in expected if each not in told_to_model] == [], name
