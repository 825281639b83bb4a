"""Payloads that discord.py cannot read as a whole: what can be read of them is kept."""

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
"""Attributes that discord.py does not set on a message whose payload leaves them out."""

_NOBODY: Payload = {"username": "somebody", "discriminator": "0", "avatar": None}


def read_message(
    client: discord.Client,
    data: Payload,
    parse: Callable[[discord.Message, Sequence[str]], Result],
    channel: object = None,
) -> Result:
    """Return `parse` of a message; it also receives the names of the parts that cannot be read.

    Without a `channel` the one is taken that the payload names. Raises whatever discord.py or `parse` raises
    when not even the author and the place can be read.
    """
    state: Any = client._connection  # untyped: the payload is as Discord sent it; there is no public way in

    def read(data: Payload, lost: Sequence[str] = ()) -> Result:
        if not isinstance(data.get("content"), str):
            raise TypeError("the content is not a text")
        place: Any = channel or state._get_guild_channel(data)[0]
        message: Any = {**_LISTS, **data}
        return parse(discord.Message(state=state, channel=place, data=message), lost)

    try:
        return read(data)
    except Exception as error:  # noqa: BLE001 - discord.py raises anything for what it does not expect
        author = {**_NOBODY, "id": data["author"]["id"], "bot": bool(data["author"].get("bot"))}
        core = {"content": "", "author": author}
        kept, lost = _readable({"content": None, **data}, core, _MESSAGE_CORE, read)
        result = read(kept, lost)
        log.warning("message read in part", extra={"unread": lost, "error": repr(error)})
        return result


def read_guild(client: discord.Client, data: Payload) -> Payload:
    """Return a guild's payload without the channels, roles, emoji, … that cannot be read."""
    state: Any = client._connection

    def read(data: Any) -> discord.Guild:
        return discord.Guild(data=data, state=state)

    kept, lost = _readable(data, {}, _GUILD_CORE, read)
    log.warning("guild read in part", extra={"guild": data["id"], "unread": lost})
    return kept


def _readable(
    data: Payload, core: Payload, needed: Sequence[str], read: Callable[[Payload], object]
) -> tuple[Payload, list[str]]:
    """Return the parts of `data` that can be read together, and the names of the others.

    `core` stands in for parts that cannot be read; what is `needed` is kept as it is. Of a list the items
    are kept that can be read.
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
    except Exception:  # noqa: BLE001 - as above
        return False
    return True
