"""The line protocol as a `Receiver` of `bot.platforms`."""

import asyncio
import logging
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from bot.chat import (
    Announcement,
    Approval,
    Attachment,
    Audience,
    CredentialsRejected,
    Deliver,
    FileRefused,
    Health,
    Message,
    NameKind,
    Opening,
    Receipt,
    Since,
    Stop,
    StorageDown,
    Thread,
    ThreadId,
    Undeliverable,
    Unreachable,
)
from bot.commands.commands import Commands
from bot.platforms.receiver import Webhook
from tests.example_platform.adapter import INFO
from tests.example_platform.events import parse, user_in
from tests.example_platform.reply import LinesThread

log = logging.getLogger(__name__)


@asynccontextmanager
async def connect(port: int) -> AsyncIterator["Lines"]:
    """Listen on loopback until the context is left. Raises `CredentialsRejected` when the port is in use."""
    lines = Lines()
    try:
        server = await asyncio.start_server(lines.converse, "127.0.0.1", port)
    except OSError as error:
        raise CredentialsRejected(f"LINES_PORT={port} cannot be listened on: {error.strerror}") from error
    lines.port = server.sockets[0].getsockname()[1]
    try:
        yield lines
    finally:
        server.close()
        await lines.close()


class Lines:
    """Implements `Receiver`. Answers leave while this is open, messages come while it receives."""

    name = INFO.name

    def __init__(self) -> None:
        self.port = 0
        self._users: dict[str, StreamWriter] = {}
        self._deliver: Deliver | None = None

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        """Return nothing: the protocol has a socket of its own."""
        return {}

    async def receive(self, deliver: Deliver, commands: Commands) -> None:
        """Take messages until cancelled. A line has no slash commands, so `commands` are not used."""
        self._deliver = deliver
        try:
            await asyncio.Event().wait()
        finally:
            self._deliver = None

    async def converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Take the lines of one connection until it ends."""
        user = None
        try:
            user = user_in(await reader.readline())
            if user is None:
                writer.write(b"error say hello and your name\n")
                return
            self._users[user] = writer
            async for line in reader:
                await self._take(user, line)
        except (OSError, Unreachable, ValueError) as error:  # ValueError: a line that is too long
            log.info("connection lost", extra={"user": user, "error": str(error)})
        finally:
            if user and self._users.get(user) is writer:
                del self._users[user]
            writer.close()

    async def _take(self, user: str, line: bytes) -> None:
        message = parse(user, line, time.time())
        if message is None:
            await self.say(user, "error write a number and a text")
            return
        outcome = "later"
        if self._deliver:
            with suppress(StorageDown):
                await self._deliver(message)
                outcome = "taken"
        await self.say(user, f"{message.place['number']} {outcome}")

    async def say(self, user: str, line: str) -> None:
        """Write a line to a user. Raises `Unreachable`."""
        writer = self._users.get(user)
        if writer is None:
            raise Unreachable(f"{user} is not connected")
        try:
            writer.write(f"{line}\n".encode())
            await writer.drain()
        except OSError as error:
            raise Unreachable(f"{user} is not connected any more") from error

    async def close(self) -> None:
        """Close all connections."""
        for writer in list(self._users.values()):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def catch_up(self, deliver: Deliver) -> None:
        """Read nothing: a client sends again what was not taken."""

    def thread(self, id: ThreadId) -> Thread:
        """Return the place to answer. It finds the user by the message that is answered."""
        return LinesThread(self.say)

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        """Refuse: a line cannot carry a file."""
        raise FileRefused("files cannot be sent here")

    def context(self, message: Message, since: Since | None) -> None:
        """Return nothing: the agent knows everything that was written in a conversation."""

    def archive(self, message: Message) -> None:
        """Return nothing: there are no channels."""

    async def audience(self, message: Message) -> Audience:
        """Return the narrower audience: only the user reads the conversation."""
        return "members"

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name that a user has given; channels have none."""
        return id if kind == "user" else ""

    async def show_request(
        self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool
    ) -> ThreadId | None:
        """Refuse: there is no conversation that a user has not begun."""
        raise Undeliverable("users of the line protocol are only answered")

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """Do nothing: no request was shown outside of its conversation."""

    async def announce(self, announcement: Announcement, to: str, receipt: Receipt) -> Opening:
        """Refuse: there are no channels."""
        raise Undeliverable("the line protocol has no channels")

    def forget_thread(self, id: ThreadId) -> None:
        """Do nothing: the line protocol shows no conversations."""

    def refuse_stop(self, stop: Stop, words: str) -> None:
        """Do nothing: in a conversation of one user nobody else has asked anything."""

    async def health(self) -> Health:
        """Return ok while messages are taken."""
        evidence = {"port": self.port, "connections": len(self._users)}
        return Health(name=self.name, state="ok" if self._deliver else "down", evidence=evidence)
