"""Trace of a message: what Redis knows about it, its turn and its thread, as text for the operator."""

import re
from collections.abc import Mapping

from redis.asyncio import Redis

from bot.chat.text import one_line, visible
from bot.inbox import keys

_SLACK_LINK = re.compile(r"https://[^/\s]{1,255}/archives/(\w{1,32})/p(\d{10})(\d{6})/?(?:\?.*)?")
_SLACK_THREAD = re.compile(r"[?&]thread_ts=(\d{10}\.\d{6})(?:&|$)")
_SLACK_ID = re.compile(r"(?:slack:)?(?:(\w{1,32}):)?(\w{1,32}):(\d{10}\.\d{6})", re.IGNORECASE)
_SLACK_DIGITS = re.compile(r"p?(\d{10})(\d{6})")
_DISCORD_LINK = re.compile(r"https://[^/\s]{1,255}/channels/(?:@me|\d{1,20})/\d{1,20}/(\d{1,20})/?")
_ANSWER_ID = re.compile(r"\d{10}\.\d{6}|\d{15,20}")
"""Id of a message on Slack or on Discord, as receipts have it."""

_MOST = 20
"""Messages that are shown: an id and those of its edits."""

_BATCH = 1_000
_VALUE = 2_000
_TURN = ("attempts", "failures", "crashes", "hangs", "stopped", "error", "receipt")


async def trace(redis: Redis, message: str) -> str:
    """Return what is stored about a message of a user, found by its id, a part of its id, or its link.

    The id or the link of an answer finds the message that it answers, or the first message of its thread: the
    last message of an answer may be in no receipt.
    """
    part = fragment(message)
    found = await _find_messages(redis, part) or await _find_answered(redis, part)
    if not found and (root := _thread_of(message)):
        found = await _find_messages(redis, root)
    if len(found) > _MOST:
        return f"More than {_MOST} messages have this in their ids. Give more of the id, or the link."
    if not found:
        return (
            f"Redis knows no message and no answer with {_safe(part[:200])} in its id. The last message of "
            "an answer may be in no receipt: give the link of the question above it, or its `message_id` in "
            "the log line `event taken`. All is forgotten after three days."
        )
    return "\n\n".join(["\n".join(await _lines(redis, each)) for each in sorted(found)])


def fragment(message: str) -> str:
    """Return what an id contains: of a link the ids in it, in the spelling of Slack or Discord."""
    message = message.strip(" \t\n<>`'\"")
    if link := _SLACK_LINK.fullmatch(message):
        channel, seconds, rest = link.groups()
        return f"{channel.upper()}:{seconds}.{rest}"
    if id := _SLACK_ID.fullmatch(message):  # a `thread_id` of the log has it in lower case
        return ":".join(each.upper() for each in id.groups() if each)
    if link := _DISCORD_LINK.fullmatch(message):
        return link[1]
    return _SLACK_DIGITS.sub(r"\1.\2", message) if _SLACK_DIGITS.fullmatch(message) else message


def _thread_of(message: str) -> str:
    """Return what the id of the first message contains in whose thread a message of Slack is, by its link."""
    link, thread = _SLACK_LINK.search(message), _SLACK_THREAD.search(message)
    return f"{link[1].upper()}:{thread[1]}" if link and thread else ""


async def _find_messages(redis: Redis, part: str) -> list[str]:
    """Return the keys of the messages whose ids contain this, and of one too many at most."""
    found: list[str] = []
    async for key in redis.scan_iter(match=keys.seen(f"*{_escape(part)}*"), count=_BATCH):
        found.append(keys.text(key))
        if len(found) > _MOST:
            break
    return found


async def _find_answered(redis: Redis, part: str) -> list[str]:
    """Return the keys of the messages of the turns whose receipts have a message with this id."""
    own_id = part.rpartition(":")[2]
    if not _ANSWER_ID.fullmatch(own_id):
        return []
    answer = re.compile(rf"(?<![\d.]){re.escape(own_id)}(?![\d.])")
    turns = [keys.text(key) async for key in redis.scan_iter(match=keys.turn("*"), count=_BATCH)]
    found: list[str] = []
    for begin in range(0, len(turns), _BATCH):
        batch = turns[begin : begin + _BATCH]
        async with redis.pipeline(transaction=False) as pipe:
            for each in batch:
                pipe.hget(each, "receipt")
            receipts = await pipe.execute()
        found += [
            keys.seen(turn.removeprefix(keys.turn("")))
            for turn, receipt in zip(batch, receipts, strict=True)
            if receipt and answer.search(_decode(receipt))
        ]
    return found


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
