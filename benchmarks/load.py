"""Load test: many concurrent chats with a running bot, each in its own thread.

    .venv/bin/python -m benchmarks.load [--url URL] [--chats NUMBER] [--message TEXT]

The token is read from API_TOKEN. Ends with code 1 when a chat was not answered.
"""

import argparse
import asyncio
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import aiohttp

SECONDS = 300


@dataclass(frozen=True, slots=True)
class Chat:
    """One chat: its outcome, and its duration in seconds."""

    outcome: str
    seconds: float


async def load(url: str, chats: int, message: str, token: str | None = None) -> tuple[list[Chat], float]:
    """Run `chats` concurrent chats; return each chat, and the seconds until the last one ended."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    run = uuid.uuid4().hex[:8]
    async with aiohttp.ClientSession(
        url,
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=SECONDS),
    ) as session:
        began = time.monotonic()
        done = await asyncio.gather(
            *(_chat(session, message, f"load-{run}-{number}") for number in range(chats))
        )
        return done, time.monotonic() - began


async def _chat(session: aiohttp.ClientSession, message: str, thread: str) -> Chat:
    began = time.monotonic()
    try:
        async with session.post("/chat", json={"message": message, "thread_id": thread}) as response:
            body = await response.json()
            is_answered = body.get("status") == "success" and body.get("thread_id") == thread
            outcome = "answered" if is_answered else f"{response.status}: {body.get('message')}"
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        outcome = f"{type(error).__name__}: {error}"
    return Chat(outcome, time.monotonic() - began)


def report(chats: Sequence[Chat], seconds: float) -> str:
    """Describe a run in a few lines, with its total time at the end."""
    outcomes = Counter(each.outcome for each in chats)
    times = sorted(each.seconds for each in chats)
    return "\n".join(
        [
            *(f"{count:5} {outcome}" for outcome, count in outcomes.most_common()),
            f"first {times[0]:.2f} s, half of them {median(times):.2f} s, last {times[-1]:.2f} s",
            f"{len(chats)} chats at once took {seconds:.2f} s",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description="Many chats at once.")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where the bot listens")
    parser.add_argument("--chats", type=int, default=100, help="how many at once")
    parser.add_argument("--message", default="Hello", help="what is asked")
    asked = parser.parse_args(arguments)
    chats, seconds = asyncio.run(load(asked.url, asked.chats, asked.message, os.environ.get("API_TOKEN")))
    print(report(chats, seconds))
    return 0 if all(each.outcome == "answered" for each in chats) else 1


if __name__ == "__main__":
    sys.exit(main())
