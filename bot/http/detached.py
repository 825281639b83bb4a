"""HTTP callers as a process sees them that answers but does not listen."""

import asyncio

from bot.chat import (
    Approval,
    Attachment,
    Audience,
    Deliver,
    Files,
    Health,
    Message,
    Receipt,
    Stop,
    Thread,
    ThreadId,
    Undeliverable,
)
from bot.http.files import read_kept
from bot.http.replies import HttpThread, Replies


class AbsentHttp:
    """Implements `bot.chat.Platform`: answers go into their receipts, where those who wait look for them."""

    name = "http"

    def __init__(self, files: Files) -> None:
        self._files = files

    async def receive(self, deliver: Deliver) -> None:
        """Nothing comes."""
        await asyncio.Event().wait()

    async def catch_up(self, deliver: Deliver) -> None:
        """Nothing was missed."""

    def thread(self, id: ThreadId) -> Thread:
        """The place to answer, where nobody waits."""
        return HttpThread(Replies())

    async def fetch(self, attachment: Attachment, most_bytes: int) -> bytes:
        """See `bot.chat.Platform`: what callers send is kept until its turn comes."""
        return await read_kept(self._files, attachment)

    async def audience(self, message: Message) -> Audience:
        """The callers, who have one token between them."""
        return "members"

    async def show_request(
        self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool
    ) -> ThreadId | None:
        """Nobody can be written to over HTTP."""
        raise Undeliverable("HTTP callers are only answered")

    def refuse_stop(self, stop: Stop, words: str) -> None:
        """See `bot.chat.Platform`: whoever asks over HTTP is answered at once."""

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """There is nothing to change, since nothing was shown."""

    async def health(self) -> Health:
        """It does not listen, and is not meant to."""
        return Health(name=self.name, state="off")
