"""Health of Redis."""

from dataclasses import dataclass

from redis.asyncio import Redis

from bot.chat import Health, Json
from bot.storage.client import refusal
from bot.storage.key_value import NOTHING_KEPT, KeyValueStore

_EVIDENCE = (
    "version",
    "modules",
    "used_memory_mib",
    "maxmemory_policy",
    "persistence",
    "connected_clients",
)


@dataclass(frozen=True, slots=True)
class RedisHealth:
    """State of Redis; a `bot.chat.HealthCheck`."""

    name = "redis"

    redis: Redis
    store: KeyValueStore

    async def health(self) -> Health:
        """Return `degraded` when Redis may lose data, and `down` when it takes no writes.

        It loses data by eviction or for want of persistence; without writes no message can be kept.
        """
        info = await self.store.server()
        evidence: dict[str, Json] = {"ping_ms": await self.store.ping()}
        evidence |= {key: info[key] for key in _EVIDENCE}
        if reason := await refusal(self.redis):
            return Health(name=self.name, state="down", evidence={"takes_no_writes": reason, **evidence})
        if info["maxmemory_policy"] != "noeviction":
            evidence["advice"] = "set maxmemory-policy noeviction: Redis may drop memory without an error"
        elif info["persistence"].startswith(NOTHING_KEPT):
            evidence["advice"] = "switch on appendonly: a restart of Redis loses messages and memory"
        return Health(name=self.name, state="degraded" if "advice" in evidence else "ok", evidence=evidence)
