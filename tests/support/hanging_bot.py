"""Bot with a fault, `python -m tests.support.hanging_bot`: `[WHERE:HOW]` in a text hangs its loop there.

`answer`: in a task that the agent has started; `show`: while the answer is rendered; `take`: while an event
of Slack or Discord is read.
"""

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any

from bot import main
from bot.chat import Agent, Notice, Part, Text, Turn
from bot.composition import parts
from bot.discord import events as discord_events
from bot.slack import block_text
from bot.slack import content as slack_content
from bot.turn import Turns
from tests.support.agents import FunctionAgent
from tests.support.hangs import HANGS


def hang_if_told(where: str, text: str) -> None:
    """Hang in the way that the text names, if it names this place."""
    if named := re.search(rf"\[{where}:(\w+)\]", text):
        HANGS[named[1]]()


def _before(where: str, read: Callable[..., Any], text: Callable[..., str]) -> Callable[..., Any]:
    def faulty(*args: Any, **options: Any) -> Any:
        hang_if_told(where, text(*args))
        return read(*args, **options)

    return faulty


class _Turns(Turns):
    """Turns that may hang in their reader."""

    async def _parts(self, *args: Any, **options: Any) -> AsyncGenerator[Part]:
        async for part in Turns._parts(self, *args, **options):
            if isinstance(part, Text | Notice):
                hang_if_told("show", part.text)
            yield part


def _turns(agent: Agent, *rest: Any) -> Turns:
    async def faulty(turn: Turn) -> AsyncGenerator[Part]:
        for message in turn.messages:
            await asyncio.create_task(_hang_later("answer", message.text))  # as the agent's graph starts one
        async for part in agent.answer(turn):
            yield part

    return _Turns(FunctionAgent(faulty, agent.conclude), *rest)


async def _hang_later(where: str, text: str) -> None:
    hang_if_told(where, text)


def install() -> None:
    """Install the fault in the program."""
    vars(parts)["Turns"] = _turns
    vars(slack_content)["plain_text"] = _before("take", block_text.plain_text, lambda text, _: str(text))
    discord_events.parse_message = _before(
        "take", discord_events.parse_message, lambda message, *_: str(message.content)
    )


if __name__ == "__main__":
    install()
    sys.exit(main.main())
