"""Health of Redis."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bot.chat import Health, Json
from bot.storage.client import refusal
from bot.storage.errors import storage_errors

_EVIDENCE = ("version", "modules", "used_memory_mib", "maxmemory_policy", "persistence", "connected_clients")

_NOTHING_KEPT = "none"
"""Beginning of the persistence line of a server that stores nothing on disk."""


@dataclass(frozen=True, slots=True)
class RedisHealth:
    """Health check of Redis; a `bot.chat.HealthCheck`."""

    name = "redis"

    redis: Redis

    async def health(self) -> Health:
        """Return `degraded` if Redis may lose data, and `down` if it refuses writes.

        It may lose data by eviction or without persistence; without writes no message can be stored.
        """
        with storage_errors():
            facts = await server_info(self.redis)
            evidence: dict[str, Json] = {"ping_ms": await ping(self.redis)}
            evidence |= {key: facts[key] for key in _EVIDENCE}
            if reason := await refusal(self.redis):
                evidence = {"takes_no_writes": reason, **evidence}
                return Health(name=self.name, state="down", evidence=evidence)
        if facts["maxmemory_policy"] != "noeviction":
            evidence["advice"] = "set maxmemory-policy noeviction: Redis may drop memory without an error"
        elif facts["persistence"].startswith(_NOTHING_KEPT):
            evidence["advice"] = "switch on appendonly: a restart of Redis loses messages and memory"
        return Health(name=self.name, state="degraded" if "advice" in evidence else "ok", evidence=evidence)


async def ping(redis: Redis) -> float:
    """Return the round-trip time to Redis in milliseconds."""
    start = time.perf_counter()
    await redis.ping()
    return round((time.perf_counter() - start) * 1_000, 2)


async def server_info(redis: Redis) -> dict[str, Json]:
    """Return facts about the server as JSON; errors of Redis pass through."""
    info = await redis.info()
    return {
        "version": info["redis_version"],
        "modules": sorted(_module(each) for each in await redis.module_list()),
        "used_memory_mib": round(info["used_memory"] / 2**20, 1),
        "maxmemory_policy": info["maxmemory_policy"],
        "persistence": _persistence(info, await _snapshots(redis)),
        "connected_clients": info["connected_clients"],
        "uptime_s": info["uptime_in_seconds"],
    }


async def _snapshots(redis: Redis) -> str | None:
    """Return the snapshot schedule as Redis writes it, or None if the server does not permit the question."""
    try:
        settings = await redis.config_get("save")
    except ResponseError:  # managed services refuse CONFIG
        return None
    return str(next(iter(settings.values()), ""))


def _module(entry: Mapping[bytes | str, Json]) -> str:
    fields = {_text(key): _text(value) for key, value in entry.items()}
    return f"{fields['name']} {fields['ver']}"


def _text(value: Json) -> Json:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _persistence(info: Mapping[str, Json], snapshots: str | None) -> str:
    if info["aof_enabled"]:
        return f"append-only file, last write {info['aof_last_write_status']}"
    if snapshots == "":
        return f"{_NOTHING_KEPT}: neither append-only file nor snapshots"
    return f"snapshots only, last {info['rdb_last_bgsave_status']}"
