"""Names of users, channels and servers, read over REST.

https://discord.com/developers/docs/resources/user#get-user
"""

from bot.chat import NameKind
from bot.discord.events import DIRECT
from bot.discord.permissions import everyone_can_read
from bot.discord.reader import Reader
from bot.platforms.texts import DIRECT_MESSAGES

_THREADS = frozenset({10, 11, 12})
"""Types of channels whose permissions are not their own."""


async def name_of(reader: Reader, kind: NameKind, id: str) -> str:
    """Return the name of a user, a public channel or a server; empty for others. Raises `PlatformError`."""
    if id == DIRECT:
        return DIRECT_MESSAGES
    if not (id.isascii() and id.isdecimal()):
        return ""
    match kind:
        case "user":
            user = await reader.user(int(id))
            return str(user.get("global_name") or user.get("username") or "")
        case "channel":
            return await _channel_name(reader, int(id))
        case "space":
            return str((await reader.guild(int(id))).get("name") or "")


async def _channel_name(reader: Reader, id: int) -> str:
    channel = await reader.channel(id)
    if not channel.get("guild_id"):
        return DIRECT_MESSAGES
    if channel.get("type") in _THREADS:
        return ""
    guild = await reader.guild(int(channel["guild_id"]))
    return f"#{channel['name']}" if everyone_can_read(guild, channel) else ""
