"""Command `inbox`: waiting, running and dead messages as text for the operator."""

import time
from collections.abc import Iterable, Mapping

from redis.asyncio import Redis

from bot.chat import Message
from bot.chat.text import one_line
from bot.inbox import queries
from bot.inbox.queries import Dead
from bot.inbox.trace import trace

ALL = "all"
"""Argument that names every dead message."""

_TEXT = 60


async def run(redis: Redis, action: str, entry: str) -> str:
    """Run `list`, `show`, `replay` or `drop`; return the text for the operator."""
    match action:
        case "show":
            return await trace(redis, entry)
        case "replay":
            return await replay(redis, entry)
        case "drop":
            return await drop(redis, entry)
        case _:
            return await list_messages(redis)


async def list_messages(redis: Redis) -> str:
    """Return one line for each unanswered and each dead message."""
    running = await queries.leased_threads(redis)
    lines = _unanswered_lines(await queries.unanswered_messages(redis), running)
    lines += [
        f"dead     {each.entry}  {each.thread}  {_age(each.at)} ago  {each.reason}  {_short(each.text)}"
        for each in await queries.dead(redis)
    ]
    return "\n".join(lines or ["The inbox is empty."])


async def replay(redis: Redis, entry: str) -> str:
    """Put a dead message back, or `all`; return a sentence with their number."""
    replayed = sum([await queries.replay(redis, each) for each in await _entries(redis, entry)])
    return _outcome("put back", replayed, entry)


async def drop(redis: Redis, entry: str) -> str:
    """Delete a dead message, or `all`; return a sentence with their number."""
    dropped = sum([await queries.drop(redis, each) for each in await _entries(redis, entry)])
    return _outcome("dropped", dropped, entry)


async def _entries(redis: Redis, entry: str) -> list[str]:
    dead: list[Dead] = await queries.dead(redis)
    return [each.entry for each in dead if entry in (ALL, each.entry)]


def _unanswered_lines(messages: Iterable[Message], running: Mapping[str, str]) -> list[str]:
    lines = []
    for message in messages:
        thread = str(message.thread)
        state = f"running  on {running[thread]}" if thread in running else "waiting"
        lines.append(f"{state}  {thread}  {_age(message.sent_at)} ago  {message.id}  {_short(message.text)}")
    return lines


def _outcome(done: str, count: int, entry: str) -> str:
    if not count:
        return f"There is no dead message {entry}; `./dev run inbox` lists them."
    return f"{count} message{'s' if count > 1 else ''} {done}."


def _age(at: float) -> str:
    minutes = max(0, int(time.time() - at)) // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _short(text: str) -> str:
    return repr(one_line(text, _TEXT))
