"""Presence of the bot: trouble that its users would otherwise only notice by waiting in vain."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import aiohttp
import discord

from bot.chat import HealthCheck
from bot.discord import texts
from bot.discord.shard import Shard

log = logging.getLogger(__name__)

_RECENT_SECONDS = 300.0
"""Age from which a failed call of the model says nothing about now: nobody has asked since."""

_SEND_SECONDS = 5.0


class Presence:
    """Shows trouble on the shards of this process, and nothing while all is well.

    `is_storage_down` costs nothing to call. Discord takes five changes in 20 seconds from a session.
    """

    def __init__(
        self,
        shards: Callable[[], Sequence[Shard]],
        is_storage_down: Callable[[], bool],
        model: HealthCheck | None,
        interval: float,
    ) -> None:
        self._shards = shards
        self._is_storage_down = is_storage_down
        self._model = model
        self._interval = interval

    async def keep(self) -> None:
        """Show the current state, and again in each new session, until cancelled."""
        while True:
            try:
                text = await self._text()
                for shard in self._shards():
                    if shard.presence != text and shard.connection.state() == "ok":
                        await _show(shard, text)
            except Exception:  # an error here would end the gateway connection; the next look tries again
                log.exception("presence not known")
            await asyncio.sleep(self._interval)

    async def _text(self) -> str:
        """Return the sentence about the trouble; never an address, or what a service has said."""
        if self._is_storage_down():
            return texts.STORAGE_DOWN
        health = await self._model.health() if self._model else None
        if health is None or health.state in ("ok", "off"):
            return ""
        if wait := health.evidence.get("rate_limited_s"):
            until = math.ceil((time.time() + wait) / 60) * 60
            return texts.rate_limited(datetime.fromtimestamp(until, UTC))
        return texts.MODEL_DOWN if health.evidence.get("last_call_s", 0) < _RECENT_SECONDS else ""


async def _show(shard: Shard, text: str) -> None:
    """Change the presence of a shard; after a failure the next look tries again."""
    client = shard.listener
    if client is None:
        return
    activity, status = (discord.CustomActivity(text), discord.Status.dnd) if text else (None, None)
    try:
        async with asyncio.timeout(_SEND_SECONDS):
            await client.change_presence(activity=activity, status=status)
    # the connection may be lost at any time, and is None before there is one
    except (discord.DiscordException, aiohttp.ClientError, OSError, RuntimeError, AttributeError) as error:
        log.info("presence not shown", extra={"shard": shard.number, "error": repr(error)})
        return
    shard.presence = text
    log.debug("presence shown", extra={"shard": shard.number, "presence": text})
