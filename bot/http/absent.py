"""HTTP callers as a process sees them that answers but does not listen."""

import asyncio

from bot.chat import Audience, Deliver, Health, Message, Thread, ThreadId
from bot.http.replies import HttpThread, Replies


class AbsentHttp:
    """Implements `bot.chat.Platform`: answers go into their receipts, where those who wait look for them."""

    name = "http"

    async def receive(self, deliver: Deliver) -> None:
        """Nothing comes."""
        await asyncio.Event().wait()

    async def catch_up(self, deliver: Deliver) -> None:
        """Nothing was missed."""

    def thread(self, id: ThreadId) -> Thread:
        """The place to answer, where nobody waits."""
        return HttpThread(Replies())

    async def audience(self, message: Message) -> Audience:
        """The callers, who have one token between them."""
        return "members"

    async def health(self) -> Health:
        """It does not listen, and is not meant to."""
        return Health(name=self.name, state="off")
