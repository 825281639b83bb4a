"""Discord as a platform: connection, events, answers."""

from collections.abc import AsyncIterator, Iterator, Mapping, Set
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Final

from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL

from bot.chat import (
    Announcement,
    Approval,
    Attachment,
    Audience,
    Coordination,
    Deliver,
    Files,
    Health,
    InboxLookup,
    Message,
    NameKind,
    Opening,
    ReadContext,
    Receipt,
    Since,
    Stop,
    ThreadId,
)
from bot.commands.commands import Commands
from bot.concurrency.tasks import first_failure
from bot.discord import events, requests
from bot.discord.announcements import announce
from bot.discord.api import DiscordApi
from bot.discord.archive import DiscordArchive
from bot.discord.connection import Connection
from bot.discord.context import Contexts
from bot.discord.gateway import Listener
from bot.discord.health import TokenProbe, connection_evidence, refusal_evidence, shard_evidence
from bot.discord.identify import IdentifyQueue
from bot.discord.messages import EditPace
from bot.discord.names import Names
from bot.discord.part_timeout import PartTimeout
from bot.discord.past import PastMessages
from bot.discord.presence import Presence
from bot.discord.reader import Reader
from bot.discord.refusals import Refusals
from bot.discord.reply import DiscordThread
from bot.discord.shard import Shard
from bot.discord.shards import Shards
from bot.discord.timing import Timing
from bot.platforms.download import Hosts, download
from bot.platforms.health import worst
from bot.platforms.receiver import Webhook

_FILE_HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net"})


@asynccontextmanager
async def connect(
    *,
    token: str,
    api_url: str | None,
    coordination: Coordination,
    lookup: InboxLookup,
    files: Files,
    catch_up_hours: float,
    shards: int | None,
    bots: Set[str] = frozenset(),
    timing: Timing,
) -> AsyncIterator["Discord"]:
    """Open Discord; makes no request yet. `api_url` replaces the REST base, and thereby the gateway.

    By default Discord recommends the number of `shards`. discord.py keeps both addresses in its classes, so a
    process can have one Discord at a time. Other bots are ignored unless they are in `bots`, as in
    ALLOWED_BOTS.
    """
    with _use_api_url(api_url):
        async with DiscordApi(token, timing) as api:
            yield Discord(token, api, coordination, lookup, files, catch_up_hours, shards, bots, timing)


@contextmanager
def _use_api_url(api_url: str | None) -> Iterator[None]:
    base, gateway = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    if api_url is not None:
        Route.BASE = api_url.rstrip("/")
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = base, gateway


class Discord:
    """Implementation of `Receiver`: one client sends, and one listens to each shard."""

    name: Final = events.PLATFORM

    def __init__(
        self,
        token: str,
        api: DiscordApi,
        coordination: Coordination,
        lookup: InboxLookup,
        files: Files,
        catch_up_hours: float,
        shards: int | None,
        bots: Set[str],
        timing: Timing,
    ) -> None:
        self._token = token
        self._api = api
        self._lookup = lookup
        self._files = files
        self._wish = shards
        self._bots = bots
        self._timing = timing
        self._shards = Shards(coordination, catch_up_hours, timing)
        self._identify_queue = IdentifyQueue(api, coordination, timing)
        reader = Reader(api)
        self._refusals = Refusals(reader, timing.refusal_interval)
        self._names = Names(reader, timing)
        self._past = PastMessages(reader, self._names)
        self._contexts = Contexts(self._past, timing)
        self._pace = EditPace(timing.edit_interval)
        self._unheld = Connection(timing.down_after)
        self._probe = TokenProbe(api, timing)

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        """Return nothing: events arrive on the gateway."""
        return {}

    async def receive(self, deliver: Deliver, commands: Commands) -> None:
        """Listen to shards, deliver events and answer commands until cancelled."""
        gateway = await self._identify_queue.gateway()
        DiscordWebSocket.DEFAULT_GATEWAY = URL(gateway.url)
        shards, interval = self._shards, self._timing.presence_interval
        presence = Presence(lambda: shards.held, lambda: shards.is_storage_down, commands.model, interval)
        listening = shards.hold(self._wish or gateway.shards, partial(self._listen, deliver, commands))
        await first_failure(listening, presence.keep())

    async def _listen(self, deliver: Deliver, commands: Commands, shard: Shard) -> None:
        listener = Listener(
            shard, deliver, commands, self._lookup, self._identify_queue, self._bots, self._timing
        )
        shard.listener = listener
        try:
            async with listener:
                await first_failure(listener.listen(self._token), shard.catch_up.wait_until_deaf())
        finally:
            shard.listener = None
            shard.catch_up.mark_lost()

    async def catch_up(self, deliver: Deliver) -> None:
        """Deliver messages that were missed, from the channel history."""
        await self._shards.catch_up(deliver)

    def thread(self, id: ThreadId) -> DiscordThread:
        """Return the thread to answer in; makes no request."""
        return DiscordThread(
            id, self._api, self._pace, self._lookup, self._files, self._timing, self._refusals
        )

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        """Return the content of an attachment; its address is signed, so no token is sent."""
        return await download(attachment.url, Hosts(_FILE_HOSTS, origin=Route.BASE), most_bytes)

    def context(self, message: Message, since: Since | None) -> ReadContext | None:
        """Return the function that reads the thread of a message, and messages that it links to."""
        return self._contexts.context(message, since)

    def archive(self, message: Message) -> DiscordArchive | None:
        """Return what the author of a message can read; nothing for bots."""
        return None if message.bot_ids else DiscordArchive(self._past, message)

    async def audience(self, message: Message) -> Audience:
        """Return who can read the place of a message; an unknown place counts as a private channel."""
        return "everyone" if message.place.get("open") else "members"

    async def name_of(self, kind: NameKind, id: str) -> str:
        """Return the name of a user, a public channel or a server."""
        return await self._names.name_of(kind, id)

    async def show_request(self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool) -> None:
        """Post an approval request in a channel or in a user's direct messages."""
        await requests.show_request(approval, to, receipt, self._api, self._lookup, is_channel=is_channel)

    async def announce(self, announcement: Announcement, to: str, receipt: Receipt) -> Opening:
        """Post a message in a channel, below which it can be talked about."""
        return await announce(
            announcement, to, receipt, self._api, PartTimeout(receipt, self._timing.part_timeout)
        )

    def forget_thread(self, id: ThreadId) -> None:
        """Do nothing: Discord shows nothing of it."""

    def refuse_stop(self, stop: Stop, words: str) -> None:
        """Do nothing: on Discord, private answers are possible only to commands and buttons."""

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        """Show the decision in the message of a request."""
        await requests.settle_request(approval, receipt, self._api)

    async def health(self) -> Health:
        """Return the state of the token, of the gateway connections and of the shards."""
        rest, probed = await self._probe()
        if self._shards.is_standby:
            evidence = {"standing_by": True, **refusal_evidence(self._refusals), **probed}
            return Health(name=self.name, state=rest, evidence=evidence)
        connections = self._shards.connections or [self._unheld]
        return Health(
            name=self.name,
            state=worst([rest, *(connection.state() for connection in connections)]),
            evidence={
                **connection_evidence(connections),
                **shard_evidence(self._shards.held),
                **self._identify_queue.evidence(),
                **refusal_evidence(self._refusals),
                **probed,
            },
        )
