"""Discord as a `Platform` of chat.py."""

from collections.abc import AsyncIterator, Iterator, Set
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL

from bot.chat import (
    Approval,
    Attachment,
    Audience,
    Deliver,
    Files,
    Health,
    InboxLookup,
    Message,
    Receipt,
    Shared,
    Stop,
    ThreadId,
)
from bot.commands.commands import Commands
from bot.concurrency.tasks import first_failure
from bot.discord import approvals, events
from bot.discord.api import Sender
from bot.discord.connection import Line
from bot.discord.gateway import Listener
from bot.discord.health import line_evidence, shard_evidence, worst
from bot.discord.identify import Starts
from bot.discord.pace import Pace
from bot.discord.patience import PATIENCE_SECONDS
from bot.discord.probe import Probe
from bot.discord.reply import DiscordThread
from bot.discord.shard import Shard
from bot.discord.shards import Shards
from bot.platforms.download import Hosts, download

_FILE_HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net"})


@asynccontextmanager
async def connect(
    *,
    token: str,
    api_url: str | None,
    commands: Commands,
    shared: Shared,
    lookup: InboxLookup,
    files: Files,
    catch_up_hours: float,
    shards: int | None,
    bots: Set[str] = frozenset(),
    patience: float = PATIENCE_SECONDS,
) -> AsyncIterator["Discord"]:
    """Open Discord; makes no request yet. `api_url` replaces the REST base, and by that the gateway too.

    Without a number of `shards` Discord is asked for one. discord.py keeps both addresses in its classes, so
    a process can have one Discord at a time. Of other bots, those in `bots` are heard, as in ALLOWED_BOTS.
    A part of an answer that fails for `patience` seconds is replaced by a sentence.
    """
    with _addressed(api_url):
        async with Sender(token) as sender:
            yield Discord(
                token, commands, sender, shared, lookup, files, catch_up_hours, shards, bots, patience
            )


@contextmanager
def _addressed(api_url: str | None) -> Iterator[None]:
    base, gateway = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    if api_url is not None:
        Route.BASE = api_url.rstrip("/")
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = base, gateway


class Discord:
    """One client sends for as long as this is open; one listens to each shard, and is made anew if lost."""

    name: Final = events.PLATFORM

    def __init__(
        self,
        token: str,
        commands: Commands,
        sender: Sender,
        shared: Shared,
        lookup: InboxLookup,
        files: Files,
        catch_up_hours: float,
        shards: int | None,
        bots: Set[str],
        patience: float,
    ) -> None:
        self._token = token
        self._commands = commands
        self._sender = sender
        self._lookup = lookup
        self._files = files
        self._wish = shards
        self._bots = bots
        self._patience = patience
        self._shards = Shards(shared, catch_up_hours, self._listen)
        self._starts = Starts(sender, shared)
        self._pace = Pace()
        self._unheld = Line()
        self._probe = Probe(sender)

    async def receive(self, deliver: Deliver) -> None:
        """See `bot.chat.Platform`."""
        gateway = await self._starts.gateway()
        DiscordWebSocket.DEFAULT_GATEWAY = URL(gateway.url)
        await self._shards.hold(self._wish or gateway.shards, deliver)

    async def _listen(self, shard: Shard, deliver: Deliver) -> None:
        listener = Listener(shard, deliver, self._commands, self._lookup, self._starts, self._bots)
        shard.listener = listener
        try:
            async with listener:
                await first_failure(listener.listen(self._token), shard.gap.deaf())
        finally:
            shard.listener = None
            shard.gap.lost()

    async def catch_up(self, deliver: Deliver) -> None:
        """See `bot.chat.Platform`."""
        await self._shards.catch_up(deliver)

    def thread(self, id: ThreadId) -> DiscordThread:
        """See `bot.chat.Platform`."""
        return DiscordThread(id, self._sender, self._pace, self._lookup, self._files, self._patience)

    async def fetch(self, attachment: Attachment, most_bytes: int) -> bytes:
        """See `bot.chat.Platform`. The addresses are signed: no token goes along."""
        return await download(attachment.url, Hosts(_FILE_HOSTS, origin=Route.BASE), most_bytes)

    async def audience(self, message: Message) -> Audience:
        """What was known when the message came; what was not is taken for a private channel."""
        return "everyone" if message.place.get("open") else "members"

    async def show_request(self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool) -> None:
        """See `bot.chat.Platform`."""
        await approvals.show(approval, to, receipt, self._sender, self._lookup, is_channel=is_channel)

    def refuse_stop(self, stop: Stop, words: str) -> None:
        """Tell nothing: what is for one person's eyes answers commands and buttons alone."""

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """See `bot.chat.Platform`."""
        await approvals.settle(approval, receipt, self._sender)

    async def health(self) -> Health:
        """See `bot.chat.Platform`."""
        rest = await self._probe()
        if self._shards.standing_by:
            return Health(name=self.name, state=rest.state, evidence={"standing_by": True, **rest.evidence})
        lines = self._shards.lines or [self._unheld]
        return Health(
            name=self.name,
            state=worst([rest.state, *(line.state() for line in lines)]),
            evidence={
                **line_evidence(lines),
                **shard_evidence(self._shards.held),
                **self._starts.evidence(),
                **rest.evidence,
            },
        )
