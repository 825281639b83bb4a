"""Payloads that discord.py cannot read completely: their readable parts are kept."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import discord

from bot.chat import Json

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Payload = Mapping[str, Json]

_MESSAGE_CORE = ("id", "channel_id", "guild_id", "webhook_id", "type", "timestamp")
_GUILD_CORE = ("id", "name", "owner_id")
_LISTS: Payload = {"attachments": [], "embeds": [], "mentions": [], "mention_roles": [], "components": []}
"""Attributes that discord.py does not set if a message's payload leaves them out."""

_NOBODY: Payload = {"username": "somebody", "discriminator": "0", "avatar": None}


def read_message(
    client: discord.Client,
    data: Payload,
    parse: Callable[[discord.Message, Sequence[str]], Result],
    channel: object = None,
) -> Result:
    """Return `parse` of a message and of the names of its unreadable parts.

    The default `channel` is the one in the payload. Raises any error of discord.py or `parse` if not even the
    author and the place can be read.
    """
    state: Any = client._connection  # untyped: the payload is raw, and there is no public interface

    def read(data: Payload, unreadable: Sequence[str] = ()) -> Result:
        if not isinstance(data.get("content"), str):
            raise TypeError("the content is not a string")
        place: Any = channel or state._get_guild_channel(data)[0]
        message: Any = {**_LISTS, **data}
        return parse(discord.Message(state=state, channel=place, data=message), unreadable)

    try:
        return read(data)
    except Exception as error:  # noqa: BLE001 - discord.py indexes raw JSON: KeyError, TypeError, …
        author = {**_NOBODY, "id": data["author"]["id"], "bot": bool(data["author"].get("bot"))}
        core = {"content": "", "author": author}
        kept, lost = _readable({"content": None, **data}, core, _MESSAGE_CORE, read)
        result = read(kept, lost)
        log.warning("message partly read", extra={"unread": lost, "error": repr(error)})
        return result


def read_guild(client: discord.Client, data: Payload) -> Payload:
    """Return a guild's payload without its unreadable channels, roles, emoji, …"""
    state: Any = client._connection

    def read(data: Any) -> discord.Guild:
        return discord.Guild(data=data, state=state)

    kept, lost = _readable(data, {}, _GUILD_CORE, read)
    log.warning("guild partly read", extra={"guild": data["id"], "unread": lost})
    return kept


def _readable(
    data: Payload, core: Payload, needed: Sequence[str], read: Callable[[Payload], object]
) -> tuple[Payload, list[str]]:
    """Return the readable parts of `data`, and the names of the others.

    Values of `core` replace unreadable parts; `needed` parts are kept unchanged. Of a list, the readable
    items are kept.
    """
    core = {**core, **{part: data[part] for part in needed if part in data}}
    kept, lost = core, list[str]()
    for part, value in data.items():
        if part in needed:
            continue
        if not _reads(read, {**kept, part: value}):
            lost.append(part)
            items = value if isinstance(value, list) else []
            value = [each for each in items if _reads(read, {**core, part: [each]})]
            if not value or not _reads(read, {**kept, part: value}):
                continue
        kept = {**kept, part: value}
    return kept, lost


def _reads(read: Callable[[Payload], object], data: Payload) -> bool:
    try:
        read(data)
    except Exception:  # noqa: BLE001 - any error is the answer "no": discord.py indexes raw JSON
        return False
    return True
