"""Health of Discord: the answer to the bot's token, and the gateway connections."""

import time
from collections.abc import Sequence

from bot.chat import CredentialsRejected, Json, PlatformError
from bot.discord.api import DiscordApi
from bot.discord.connection import Connection
from bot.discord.refusals import Refusals
from bot.discord.shard import Shard
from bot.discord.timing import Timing
from bot.platforms import health
from bot.platforms.health import Finding

_MOST_CHANNELS = 5
"""Most channels without permissions that are listed."""


class TokenProbe(health.TokenProbe):
    """Probe that requests the own user: `down` if the token is refused, `degraded` without an answer."""

    def __init__(self, api: DiscordApi, timing: Timing) -> None:
        super().__init__(timing.probe_max_age)
        self._api = api
        self._timeout = timing.probe_timeout

    async def _ask(self) -> Finding:
        began = time.monotonic()
        try:
            await self._api.check_token(self._timeout)
        except CredentialsRejected as error:
            return "down", {"rest": str(error)}
        except PlatformError as error:
            return "degraded", {"rest": str(error)}
        return "ok", {"probe_ms": round((time.monotonic() - began) * 1000)}


def connection_evidence(connections: Sequence[Connection]) -> dict[str, Json]:
    """Return whether all connections are up, how long one has been lost, and the newest event."""
    each = [connection.evidence() for connection in connections]
    evidence: dict[str, Json] = {"connected": all(one["connected"] for one in each)}
    for key, most in (("disconnected_s", max), ("last_event_s", min)):
        if seconds := [one[key] for one in each if key in one]:
            evidence[key] = most(seconds)
    return evidence


def refusal_evidence(refusals: Refusals) -> dict[str, Json]:
    """Return the channels of the last hour where the bot lacks a permission to write, and which ones."""
    found = [f"{channel}: {', '.join(titles)}" for channel, titles in refusals.missing.items()]
    if len(found) > _MOST_CHANNELS:
        found = [*found[:_MOST_CHANNELS], f"and {len(found) - _MOST_CHANNELS} more"]
    return {"missing_permissions": "; ".join(found)} if found else {}


def shard_evidence(shards: Sequence[Shard]) -> dict[str, Json]:
    """Return the number of connected shards, which ones they are, and guilds, user and latency."""
    if not shards:
        return {}
    lost = [shard for shard in shards if shard.connection.state() != "ok"]
    evidence: dict[str, Json] = {"shards": f"{len(shards) - len(lost)} of {len(shards)} connected"}
    if shards[0].count > 1:
        evidence["shard_numbers"] = f"{_numbers(shards)} (there are {shards[0].count} in all processes)"
    if lost and len(shards) > 1:
        evidence["disconnected"] = _numbers(lost)
    clients = [shard.listener for shard in shards if shard.listener]
    if clients:
        evidence |= {"guilds": sum(len(each.guilds) for each in clients), "user": str(clients[0].user)}
    # before the first heartbeat it is infinite or not a number
    if latencies := [each.latency for each in clients if 0 <= each.latency < float("inf")]:
        evidence["latency_ms"] = round(max(latencies) * 1000)
    return evidence


def _numbers(shards: Sequence[Shard]) -> str:
    return ", ".join(str(shard.number) for shard in shards)
