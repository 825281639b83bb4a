"""One answer as lines."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import assert_never

from bot.chat import (
    AnswerButtons,
    Approval,
    File,
    Notice,
    OpenRequests,
    Part,
    Question,
    Receipt,
    Table,
    Text,
    ToolStep,
)
from bot.commands.approval_texts import request_text
from bot.commands.question_texts import question_text
from bot.platforms.table_text import code_block

Say = Callable[[str, str], Awaitable[None]]
"""Writes a line to a user. Raises `Unreachable`."""


@dataclass(frozen=True, slots=True)
class LinesThread:
    """Implements `bot.chat.Thread`. The answer is stored first, so that a restart shows the rest of it."""

    say: Say

    async def reply(self, parts: AsyncIterator[Part], receipt: Receipt) -> None:
        """Show the answer, or the rest of it. Raises `Unreachable`, after which it is tried again."""
        messages = [each.place for each in receipt.turn.messages]
        user, number = messages[-1]["user"], messages[-1]["number"]
        if "answer" not in receipt.state:
            await receipt.save(answer=[line async for line in _lines(parts)], shown=0)
        answer: list[str] = receipt.state["answer"]
        for at in range(receipt.state["shown"], len(answer)):
            await receipt.hold()
            await self.say(user, f"{number} says {at + 1} {answer[at]}")
            await receipt.save(shown=at + 1)
        for each in messages:
            await receipt.hold()
            await self.say(user, f"{each['number']} done")


async def _lines(parts: AsyncIterator[Part]) -> AsyncIterator[str]:
    text = "".join([_rendered(part) async for part in parts])
    for line in text.strip("\n").split("\n"):
        yield line


def _rendered(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case Notice():
            return f"\n\n{part.text}\n\n"
        case Approval():
            return f"\n\n{request_text(part)}\n\n"
        case Question():
            return f"\n\n{question_text(part)}\n\n"
        case Table():
            return f"\n\n{code_block(part, 4_000)[0]}\n\n"
        case File():
            return f"\n\nI made the file {part.name}, but I cannot send files here.\n\n"
        case ToolStep() | AnswerButtons() | OpenRequests():
            return ""
        case _:
            assert_never(part)
