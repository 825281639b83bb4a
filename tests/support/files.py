"""Helpers for tests of files: a small picture, and a turn whose receipt survives its attempts."""

import base64
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from bot.chat import File, Json, Message, Part, Platform, Receipt, ThreadId, Turn
from tests.support.replies import run_reply

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@dataclass
class QuestionRun:
    """One question, answered as by the inbox: each attempt gets the receipt of the last one."""

    platform: Platform
    thread: ThreadId
    channel: str
    place: Mapping[str, str]
    parent: str = ""
    id: str = "question"
    state: dict[str, Json] = field(default_factory=dict)

    @property
    def turn(self) -> Turn:
        message = Message(
            id=self.id,
            thread=self.thread,
            author="test:ada",
            text="draw it",
            sent_at=time.time(),
            addressed=True,
            direct=self.thread.space == "dm",
            channel=self.channel,
            parent=self.parent,
            place=self.place,
        )
        return Turn(id=self.id, thread=self.thread, messages=(message,))

    async def answer(self, *parts: Part) -> None:
        """Run one attempt."""

        async def keep(state: Mapping[str, Json]) -> None:
            self.state = dict(state)

        async def all_parts() -> AsyncIterator[Part]:
            for part in parts:
                yield part

        receipt = Receipt(self.turn, keep, dict(self.state))
        await run_reply(self.platform.thread(self.thread), all_parts(), receipt)


def expired_file(name: str = "gone.png") -> File:
    """Return a file that has expired in the store."""
    return File(id="0" * 32, name=name, media_type="image/png", size=1)
