"""discord.py's client as both sides of the bot use it, to listen and to send."""

import json
import logging
from typing import Any

import discord

from bot.chat import Json, well_formed_json

log = logging.getLogger(__name__)

PINGS = discord.AllowedMentions(everyone=False, roles=False, users=False, replied_user=True)
"""Users that a message of ours notifies: text from a model pings nobody, a reply its author."""

LONGEST_WAIT = 30.0
"""Seconds that discord.py waits for a rate limit before it raises instead; it knows no shorter time."""

_NO_DETAILS = {
    "name": "",
    "description": "",
    "icon": None,
    "bot_public": False,
    "bot_require_code_grant": False,
    "verify_key": "",
    "owner": {"id": "0", "username": "", "discriminator": "0", "avatar": None},
}

# the bot does not speak: no warning that the libraries for voice are missing
discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False

_read_json, _write_json = discord.utils._from_json, discord.utils._to_json


def _from_json(text: str | bytes | bytearray | memoryview) -> Json:
    """Read JSON as discord.py does: with orjson, if that is installed, which takes no half of a character."""
    try:
        return _read_json(text)
    except ValueError:
        return well_formed_json(json.loads(text if isinstance(text, str) else bytes(text)))


def _to_json(obj: Json) -> str:
    try:
        return _write_json(obj)
    except TypeError:
        return _write_json(well_formed_json(obj))


# else one event would end the connection, and again each time that Discord repeats it
discord.utils._from_json, discord.utils._to_json = _from_json, _to_json


def _plain_reconnect(record: logging.LogRecord) -> bool:
    """Make discord.py's error with a trace, which it logs at each reconnection, a warning of one line."""
    if str(record.msg).startswith("Attempting a reconnect"):
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
    return True


logging.getLogger("discord.client").addFilter(_plain_reconnect)


class Client(discord.Client):
    """A client that pings nobody, waits for no rate limit too long, and needs little to log in."""

    def __init__(self, intents: discord.Intents, **options: Any) -> None:
        super().__init__(
            intents=intents, allowed_mentions=PINGS, max_ratelimit_timeout=LONGEST_WAIT, **options
        )

    async def application_info(self) -> discord.AppInfo:
        """Called by login, which needs the id alone: details that cannot be read are left out."""
        data: Any = await self.http.application_info()
        try:
            return discord.AppInfo(self._connection, data)
        except Exception as error:  # noqa: BLE001 - discord.py raises anything for what it does not expect
            log.warning("application details not read", extra={"error": repr(error)})
            least: Any = {**_NO_DETAILS, "id": data["id"]}
            return discord.AppInfo(self._connection, least)
