"""Trace of a message: what Redis knows about it, its turn and its thread, as text for the operator."""

import re
from collections.abc import Mapping

from redis.asyncio import Redis

from bot.chat.text import one_line, visible
from bot.inbox import keys

_SLACK_LINK = re.compile(r"https://[^/\s]{1,255}/archives/([A-Z0-9]{1,32})/p(\d{10})(\d{6})(?:\?.*)?")
_DISCORD_LINK = re.compile(r"https://[^/\s]{1,255}/channels/(?:@me|\d{1,20})/(\d{1,20})/(\d{1,20})")
_MOST = 20
"""Messages that are shown: an id and those of its edits."""

_VALUE = 2_000
_TURN = ("attempts", "failures", "crashes", "hangs", "stopped", "error", "receipt")


async def trace(redis: Redis, message: str) -> str:
    """Return what is stored about a message, found by its id, a part of its id, or its link."""
    pattern = keys.seen(f"*{_escape(fragment(message))}*")
    found = []
    async for key in redis.scan_iter(match=pattern, count=1_000):
        found.append(keys.text(key))
        if len(found) > _MOST:
            return f"More than {_MOST} messages have this in their ids. Give more of the id, or the link."
    if not found:
        return (
            f"Redis knows no message with {_safe(message[:200])} in its id. It forgets one after three days; "
            "the log line `event taken` has each `message_id`."
        )
    return "\n\n".join(["\n".join(await _lines(redis, each)) for each in sorted(found)])


def fragment(message: str) -> str:
    """Return what an id contains: of a link the ids in it, in the spelling of Slack or Discord."""
    message = message.strip()
    if link := _SLACK_LINK.fullmatch(message):
        channel, seconds, fraction = link.groups()
        return f"{channel}:{seconds}.{fraction}"
    if link := _DISCORD_LINK.fullmatch(message):
        return link[2]
    return message


def _escape(text: str) -> str:
    """Return a text for a pattern of SCAN in which nothing is a placeholder."""
    return re.sub(r"([\\*?\[\]^-])", r"\\\1", text)


async def _lines(redis: Redis, key: str) -> list[str]:
    seen = await _read(redis, key)
    thread, turn = seen.get("thread", ""), seen.get("turn", "")
    lines = [f"message {_safe(key.removeprefix(keys.seen('')))}", *_fields(seen)]
    if turn:
        lines += await _turn_lines(redis, turn)
    if thread:
        joined, partner = await redis.mget(keys.joined(thread), keys.partner(thread))
        of_thread = {"answered last": joined, "partner": partner}
        lines += ["thread", *_fields({name: keys.text(value) for name, value in of_thread.items() if value})]
    return lines


async def _turn_lines(redis: Redis, turn: str) -> list[str]:
    state, seconds = await _read(redis, keys.turn(turn)), await redis.ttl(keys.turn(turn))
    if not state:
        return ["turn, of which nothing is stored: it has not begun, was replayed, or ended three days ago"]
    end = "ended" if seconds >= 0 else "not ended"
    process = state.get("running", "no process")
    shown = {name: state[name] for name in _TURN if name in state}
    return [f"turn, {end}, last run by {_safe(process)}", *_fields(shown)]


def _fields(values: Mapping[str, str]) -> list[str]:
    return [f"    {_safe(name)}: {_safe(value)}" for name, value in values.items()]


async def _read(redis: Redis, key: str) -> dict[str, str]:
    stored = await redis.hgetall(key)
    return {_decode(name): _decode(value) for name, value in stored.items()}


def _decode(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _safe(text: str) -> str:
    """Return a text on one line that cannot control a terminal."""
    return one_line(visible(text, _VALUE))
