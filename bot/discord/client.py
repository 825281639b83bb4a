"""Base client of discord.py for listening and for sending."""

import json
import logging
from typing import Any

import discord

from bot.chat import Json, well_formed_json

log = logging.getLogger(__name__)

PINGS = discord.AllowedMentions(everyone=False, roles=False, users=False, replied_user=True)
"""Users that the bot's messages notify: text from a model pings nobody, a reply pings its author."""

LONGEST_WAIT = 30.0
"""Seconds that discord.py waits for a rate limit before it raises instead; it allows no shorter time."""

_NO_DETAILS = {
    "name": "",
    "description": "",
    "icon": None,
    "bot_public": False,
    "bot_require_code_grant": False,
    "verify_key": "",
    "owner": {"id": "0", "username": "", "discriminator": "0", "avatar": None},
}

# the bot has no voice: no warning about missing voice libraries
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False

_read_json, _write_json = discord.utils._from_json, discord.utils._to_json


def _from_json(text: str | bytes | bytearray | memoryview) -> Json:
    """Parse JSON like discord.py, with orjson if it is installed, which refuses half a surrogate pair."""
    try:
        return _read_json(text)
    except ValueError:
        return well_formed_json(json.loads(text if isinstance(text, str) else bytes(text)))


def _to_json(obj: Json) -> str:
    try:
        return _write_json(obj)
    except TypeError:
        return _write_json(well_formed_json(obj))


# otherwise one event would end the connection each time that Discord repeats it
discord.utils._from_json, discord.utils._to_json = _from_json, _to_json


def _plain_reconnect(record: logging.LogRecord) -> bool:
    """Turn the error that discord.py logs at each reconnection into a warning of one line."""
    if str(record.msg).startswith("Attempting a reconnect"):
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
    return True


logging.getLogger("discord.client").addFilter(_plain_reconnect)


class Client(discord.Client):
    """Client that pings nobody, limits waits for rate limits, and needs little to log in."""

    def __init__(self, intents: discord.Intents, **options: Any) -> None:
        super().__init__(
            intents=intents, allowed_mentions=PINGS, max_ratelimit_timeout=LONGEST_WAIT, **options
        )

    async def application_info(self) -> discord.AppInfo:
        """Return the application. Login needs only its id, so unreadable details are left out."""
        data: Any = await self.http.application_info()
        try:
            return discord.AppInfo(self._connection, data)
        except Exception as error:  # noqa: BLE001 - discord.py raises any error for unexpected data
            log.warning("application details not read", extra={"error": repr(error)})
            least: Any = {**_NO_DETAILS, "id": data["id"]}
            return discord.AppInfo(self._connection, least)
