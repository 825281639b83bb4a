"""How Discord is, as `/agent-health` tells it. Pure."""

from collections.abc import Sequence
from typing import Literal

from bot.chat import Json
from bot.discord.connection import Line
from bot.discord.shard import Shard

State = Literal["ok", "degraded", "down", "off"]


def worst(states: Sequence[State]) -> State:
    """The worst of several states."""
    return max(states, key=("off", "ok", "degraded", "down").index)


def line_evidence(lines: Sequence[Line]) -> dict[str, Json]:
    """Of several connections: whether all are there, for how long the first is lost, the newest event."""
    each = [line.evidence() for line in lines]
    evidence: dict[str, Json] = {"connected": all(one["connected"] for one in each)}
    for key, most in (("disconnected_s", max), ("last_event_s", min)):
        if seconds := [one[key] for one in each if key in one]:
            evidence[key] = most(seconds)
    return evidence


def shard_evidence(shards: Sequence[Shard]) -> dict[str, Json]:
    """Return the number of connected shards, which ones they are, and guilds, user and latency."""
    if not shards:
        return {}
    lost = [shard for shard in shards if shard.line.state() != "ok"]
    evidence: dict[str, Json] = {"shards": f"{len(shards) - len(lost)} of {len(shards)} connected"}
    if shards[0].count > 1:
        evidence["shard_numbers"] = f"{_numbers(shards)} (there are {shards[0].count} in all processes)"
    if lost and len(shards) > 1:
        evidence["disconnected"] = _numbers(lost)
    clients = [shard.listener for shard in shards if shard.listener]
    if clients:
        evidence |= {"guilds": sum(len(each.guilds) for each in clients), "user": str(clients[0].user)}
    # without a heartbeat yet it is infinite, or no number
    if latencies := [each.latency for each in clients if 0 <= each.latency < float("inf")]:
        evidence["latency_ms"] = round(max(latencies) * 1000)
    return evidence


def _numbers(shards: Sequence[Shard]) -> str:
    return ", ".join(str(shard.number) for shard in shards)
