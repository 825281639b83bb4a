"""HTTP platform for worker-only processes: answers are stored, no server runs."""

import asyncio
from collections.abc import Mapping

from bot.chat import (
    Announcement,
    Approval,
    Attachment,
    Audience,
    ConversationStore,
    Deliver,
    Files,
    Health,
    Message,
    NameKind,
    Opening,
    Receipt,
    Since,
    Stop,
    Thread,
    ThreadId,
    Undeliverable,
)
from bot.commands.commands import Commands
from bot.http.files import read_file
from bot.http.replies import Replies
from bot.http.thread import HttpThread
from bot.platforms.receiver import Webhook


class DetachedHttp:
    """Platform without a server: answers go into receipts, where other processes look them up."""

    name = "http"

    def __init__(self, files: Files, conversations: ConversationStore) -> None:
        self._files = files
        self._conversations = conversations

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        """Return nothing: the server serves its own routes."""
        return {}

    async def receive(self, deliver: Deliver, commands: Commands) -> None:
        """Wait until cancelled: no messages arrive."""
        await asyncio.Event().wait()

    async def catch_up(self, deliver: Deliver) -> None:
        """Do nothing: no messages can be missed."""

    def thread(self, id: ThreadId) -> Thread:
        """Return a thread without waiting callers."""
        return HttpThread(Replies(), self._conversations)

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        """Return the stored content of an attachment. Raises `FileRefused`."""
        return await read_file(self._files, attachment)

    def context(self, message: Message, since: Since | None) -> None:
        """Return nothing: the agent knows everything that an HTTP caller wrote."""

    def archive(self, message: Message) -> None:
        """Return nothing: there are no channels."""

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return a name for the place; callers have none."""
        return "" if kind == "user" else "requests"

    async def audience(self, message: Message) -> Audience:
        """Return `members`: only its caller reads a thread."""
        return "members"

    async def show_request(
        self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool
    ) -> ThreadId | None:
        """Raise `Undeliverable`: HTTP callers cannot be messaged."""
        raise Undeliverable("HTTP callers are only answered")

    async def announce(self, announcement: Announcement, to: str, receipt: Receipt) -> Opening:
        """Raise `Undeliverable`: there are no channels."""
        raise Undeliverable("HTTP has no channels")

    def forget_thread(self, id: ThreadId) -> None:
        """Do nothing: callers see no threads."""

    def refuse_stop(self, stop: Stop, words: str) -> None:
        """Do nothing: the HTTP response answers a stop directly."""

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """Do nothing: no request was shown."""

    async def health(self) -> Health:
        """Report `off`: this process serves no HTTP."""
        return Health(name=self.name, state="off")
