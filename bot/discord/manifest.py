"""Discord's counterpart of a manifest: the payload of the application commands, and the invite link."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import discord

from bot.chat import Json
from bot.commands.commands import Commands
from bot.discord.client import Client
from bot.discord.commands import CommandTree
from bot.discord.handlers import Handlers
from bot.discord.permissions import NEEDED
from bot.discord.timing import Timing

_UNUSED: Any = object()
"""Part behind a command of which only the declaration is read."""

_SCOPES = "bot applications.commands"


def command_payload() -> Sequence[Json]:
    """Return all application commands in the form in which they are registered with Discord."""
    commands = Commands(_UNUSED, _UNUSED, operations=_UNUSED, memory=_UNUSED, channel=_UNUSED)
    client = Client(discord.Intents(guilds=True))  # else discord.py warns
    tree = CommandTree(client, commands, Handlers(), _UNUSED, Timing())
    return tree.payload()


def invite_link(application: str) -> str:
    """Return the address at which an administrator adds the application to a server.

    https://discord.com/developers/docs/topics/oauth2#bot-authorization-flow
    """
    permissions = discord.Permissions(**dict.fromkeys(NEEDED, True)).value
    query = urlencode({"client_id": application, "permissions": permissions, "scope": _SCOPES})
    return f"https://discord.com/oauth2/authorize?{query}"


def application_of(token: str) -> str:
    """Return the id of the application in a bot token, or nothing if the token does not have one."""
    first = token.partition(".")[0]
    try:
        id = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
    return id if id.isascii() and id.isdecimal() else ""
