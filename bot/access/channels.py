"""Settings of channels in Redis, with a copy in the memory of each process.

A turn reads the copy, so that it costs no round trip. Every few seconds each process compares its copy with
the version in Redis: for so long another process may still follow the earlier settings.
"""

import asyncio
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from typing import Any, get_args

from redis.asyncio import Redis

from bot.access.origin import scopes_of
from bot.chat import (
    CHANNEL_SETTINGS,
    ChannelChange,
    ChannelSetting,
    ChannelSettings,
    FollowUp,
    Json,
    Message,
    StorageDown,
)
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)

KEY = "{bot}:channels"
"""Hash: `<channel> <setting>` with the last change in JSON, and `version`, the number of changes."""

_VERSION = "version"


class ChannelStore:
    """Settings of all channels, a `bot.chat.Channels`. A channel is named as in ALLOWED_CHANNELS.

    What a channel does not set is as in `defaults`; so is a model that is not in `choices` any more.
    """

    def __init__(self, redis: Redis, defaults: ChannelSettings, choices: Collection[str]) -> None:
        self.defaults = defaults
        self.models = {defaults.model, *choices} if defaults.model else frozenset[str]()
        self._redis = redis
        self._version: bytes | None = None
        self._settings: Mapping[str, ChannelSettings] = {}

    def settings_of(self, message: Message) -> ChannelSettings:
        """Return the settings for the place of a message, from the copy."""
        return self._settings.get(scopes_of(message).channel, self.defaults)

    async def changes(self, channel: str) -> Mapping[ChannelSetting, ChannelChange]:
        """Return what a channel has set, from Redis. Raises `StorageDown`."""
        return (await self._read()).get(channel, {})

    async def change(self, channel: str, changes: Mapping[ChannelSetting, ChannelChange | None]) -> None:
        """Set settings of a channel, or remove those that are None, in one step. Raises `StorageDown`."""
        with storage_errors():
            async with self._redis.pipeline(transaction=True) as step:
                for setting, change in changes.items():
                    if change:
                        step.hset(KEY, f"{channel} {setting}", json.dumps(asdict(change)))
                    else:
                        step.hdel(KEY, f"{channel} {setting}")
                step.hincrby(KEY, _VERSION, 1)
                await step.execute()
        await self.refresh()

    async def refresh(self) -> None:
        """Renew the copy if Redis has another version. Raises `StorageDown`."""
        with storage_errors():
            version: Any = await self._redis.hget(KEY, _VERSION)
        if version != self._version:
            changed = await self._read()
            self._settings = {channel: self._with(each) for channel, each in changed.items()}
            self._version = version

    async def keep_fresh(self, seconds: float) -> None:
        """Compare the copy with Redis every few `seconds` until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except StorageDown as error:
                log.info("channel settings not refreshed", extra={"error": str(error)})

    async def _read(self) -> dict[str, dict[ChannelSetting, ChannelChange]]:
        with storage_errors():
            stored: Any = await self._redis.hgetall(KEY)
        changes: dict[str, dict[ChannelSetting, ChannelChange]] = {}
        for field, value in stored.items():
            channel, _, setting = field.decode(errors="replace").rpartition(" ")
            if setting in CHANNEL_SETTINGS and (change := _load(setting, value)):
                changes.setdefault(channel, {})[setting] = change
        return changes

    def _with(self, changes: Mapping[ChannelSetting, ChannelChange]) -> ChannelSettings:
        values: dict[str, Json] = {setting: change.value for setting, change in changes.items()}
        if "tools" in values:
            values["tools"] = frozenset(values["tools"])
        if values.get("model") not in self.models:
            values.pop("model", None)
        return replace(self.defaults, **values)


def _load(setting: ChannelSetting, stored: bytes) -> ChannelChange | None:
    """Return a stored change, or None for one that a newer version has written in another way."""
    try:
        data: Json = json.loads(stored)
        change = ChannelChange(value=data["value"], by=data["by"], by_name=data["by_name"], at=data["at"])
    except (ValueError, LookupError, TypeError):
        change = None
    if change is None or not _is_value(setting, change.value):
        log.warning("channel setting unreadable", extra={"setting": setting})
        return None
    return change


def _is_value(setting: ChannelSetting, value: Json) -> bool:
    match setting:
        case "instructions" | "model":
            return isinstance(value, str)
        case "follow_up":
            return value in get_args(FollowUp)
        case "tools":
            return isinstance(value, list) and all(isinstance(each, str) for each in value)
