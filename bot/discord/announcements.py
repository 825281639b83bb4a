"""Announcements on Discord: messages in a channel, below which users and the bot talk about them."""

import time

import discord

from bot.chat import Announcement, Json, Opening, Receipt, ThreadId, Undeliverable
from bot.discord.api import DiscordApi
from bot.discord.destination import Destination
from bot.discord.events import NO_THREADS, PLATFORM
from bot.discord.markdown.render import render
from bot.discord.markdown.split import split
from bot.discord.messages import find_messages, nonce_of
from bot.discord.part_timeout import PartTimeout

_MOST_TEXT = 1_800
"""Most characters of the text, of the 2,000 of a message."""

_THREADS = frozenset({10, 11, 12})
_PRIVATE_THREAD = 12
_WITHOUT_THREADS = frozenset({2, 13})
"""Types of channels: https://discord.com/developers/docs/resources/channel#channel-object-channel-types"""


async def announce(
    announcement: Announcement, to: str, receipt: Receipt, api: DiscordApi, part_timeout: PartTimeout
) -> Opening:
    """Post a message in a channel, once per receipt. Raises `PlatformError`.

    The answer starts the thread, as that to a mention does. Keys of the receipt: `channel` with its facts,
    `announcing` (the time) while the message is sent, and `announced`, its id.
    """
    if "channel" not in receipt.state:
        await receipt.save(channel=await _describe(to, api))
    channel: Json = receipt.state["channel"]
    if "announced" not in receipt.state:
        async with part_timeout.limit("announcement"):
            await _send(_render(announcement), int(channel["id"]), receipt, api)
    message: str = receipt.state["announced"]
    is_thread = channel["type"] in _THREADS
    return Opening(
        thread=ThreadId(PLATFORM, channel["guild"], channel["id"] if is_thread else message),
        sent_at=discord.utils.snowflake_time(int(message)).timestamp(),
        channel=channel["id"],
        parent=channel["parent"] if is_thread else "",
        is_private_thread=channel["type"] == _PRIVATE_THREAD,
        place={
            "guild": channel["guild"],
            "message": message,
            "kind": "thread" if is_thread else "channel",
            "open": "",
            "author": "",
            **({NO_THREADS: "yes"} if channel["type"] in _WITHOUT_THREADS else {}),
        },
    )


async def _describe(to: str, api: DiscordApi) -> Json:
    """Return the facts about a channel. Raises `Undeliverable` for one that is not in a server."""

    async def read(client: discord.Client) -> Json:
        return await client.http.get_channel(int(to.partition(":")[2]))

    found = await api.request(read)
    if not found.get("guild_id"):
        raise Undeliverable(f"{to} is not a channel of a server")
    return {
        "id": str(found["id"]),
        "type": int(found.get("type", 0)),
        "guild": str(found["guild_id"]),
        "parent": str(found.get("parent_id") or ""),
    }


async def _send(text: str, channel: int, receipt: Receipt, api: DiscordApi) -> None:
    """Send a message, unless an earlier attempt has sent it without an answer; its last line is unique."""
    sending = receipt.state.get("announcing")
    found = await find_messages(api, Destination(channel), sending["at"]) if sending else []
    id = next((each.id for each in found if each.text == text.strip()), None)
    if id is None:
        await receipt.save(announcing={"at": sending["at"] if sending else time.time()})
        nonce = nonce_of(receipt.turn, "announcement")
        id = (await api.send(channel, text, nonce=nonce, reply_to=None, hold=receipt.hold)).id
    await receipt.save(announced=str(id), announcing=None)


def _render(announcement: Announcement) -> str:
    text, *more = split(render(announcement.text, is_finished=True), _MOST_TEXT)
    return "\n".join([text, *(["…"] if more else []), f"-# {announcement.footer}"])
