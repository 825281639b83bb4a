"""Everything the bot hears on one shard, over one session at the gateway and its reconnections."""

import logging
import sys
import threading
from collections.abc import Callable, Set
from typing import Any

import discord
from discord.gateway import KeepAliveHandler

from bot.chat import Deliver, Event, Shared, Unreachable, working_on
from bot.commands import Commands
from bot.discord import events
from bot.discord.asking import Press
from bot.discord.errors import translated
from bot.discord.handlers import Handlers, HandOver
from bot.discord.history import History
from bot.discord.sender import LONGEST_WAIT, PINGS
from bot.discord.shard import Shard
from bot.discord.slash import Tree
from bot.discord.starts import Starts, Turn

log = logging.getLogger(__name__)

_HANDLER_SECONDS = 5.0
"""How long handlers may go on after listening has ended: a message in their hands comes only once."""


def _plain_reconnect(record: logging.LogRecord) -> bool:
    """Make discord.py's error with a trace, which it logs at each reconnection, a warning of one line."""
    if str(record.msg).startswith("Attempting a reconnect"):
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
    return True


logging.getLogger("discord.client").addFilter(_plain_reconnect)


class Listener(discord.Client):
    """A client that listens to a shard and serves commands. It cannot be used again once it is closed."""

    def __init__(
        self,
        shard: Shard,
        deliver: Deliver,
        commands: Commands,
        shared: Shared,
        starts: Starts,
        bots: Set[str] = frozenset(),
    ) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        super().__init__(
            intents=intents,
            shard_id=shard.number,
            shard_count=shard.count,
            allowed_mentions=PINGS,
            max_messages=None,
            max_ratelimit_timeout=LONGEST_WAIT,
            guild_ready_timeout=0,  # seconds; nothing waits for on_ready, and its timer outlives the client
        )
        self._hand_over = HandOver(deliver)
        self._history = History(self, shared, bots)
        self._shared = shared
        self._bots = bots
        self.commands = commands
        self.handling = Handlers()
        self._tree = Tree(self, commands, self.handling)
        self.add_dynamic_items(Press)
        self._starts = starts
        self._turn: Turn | None = None
        self._shard = shard

    async def listen(self, token: str) -> None:
        """Listen until cancelled, or the session is over. Raises `PlatformError`, or `StorageDown`."""
        try:
            with translated():
                await self.login(token)
                # before the connection is made: discord.py gives that a minute, and waiting may take longer
                async with self._starts.turn(self._shard.number) as self._turn:
                    await self.connect()
            raise Unreachable("Discord's gateway connection ended")
        except AttributeError as error:
            # discord.py looks up the session of the lost connection, also when there was none yet (client.py,
            # the end of Client.connect, 2.7.1)
            if getattr(self, "ws", None) is not None:
                raise
            raise Unreachable("Discord's gateway cannot be reached") from error
        finally:
            self._shard.line.lost()
            self._stop_heartbeats()
            await self.handling.finish(_HANDLER_SECONDS)

    def _stop_heartbeats(self) -> None:
        """End the heartbeats of a connection whose session never began.

        discord.py starts their thread before IDENTIFY, and does not know it yet when that fails (gateway.py,
        DiscordWebSocket.from_client, 2.7.1): it would go on for a minute.
        """
        for thread in threading.enumerate():
            if isinstance(thread, KeepAliveHandler) and thread.ws._connection is self._connection:
                thread.stop()

    async def setup_hook(self) -> None:
        """Called between login and the gateway connection."""
        if self._shard.number == 0:
            await self._tree.sync_if_changed()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Called before a session is begun; a second one is left to a new client, which queues first."""
        if not initial or self._turn is None:
            raise Unreachable("Discord has ended the session")
        await self._turn.use()

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Called for every event; notes what it tells about the connection."""
        match event:
            case "socket_event_type":
                self._shard.line.heard()
            case "connect" | "resumed":
                self._shard.line.up()
            case "disconnect":
                self._shard.line.lost()
        if not self.is_closed():  # then it has no loop to run handlers on; the next session reads what came
            super().dispatch(event, *args, **kwargs)

    async def on_ready(self) -> None:
        """Called after each new session: what was written since the last one is not sent again."""
        self._shard.open(self._history.read)

    async def on_message(self, message: discord.Message) -> None:
        """Called in a task of its own for every message."""
        assert self.user is not None  # set by login
        me = self.user.id
        await self._read(message.id, message.channel.id, lambda: events.parse(message, me, self._bots))

    async def on_raw_message_edit(self, edit: discord.RawMessageUpdateEvent) -> None:
        """Called for every edit, also of messages that came before we listened."""
        assert self.user is not None
        me = self.user.id
        await self._read(edit.message_id, edit.channel_id, lambda: events.correction(edit.message, me))

    async def on_raw_message_delete(self, deletion: discord.RawMessageDeleteEvent) -> None:
        """Called for every deletion."""
        await self._take(events.withdrawal(deletion.message_id), deletion.channel_id)

    async def on_raw_bulk_message_delete(self, deletion: discord.RawBulkMessageDeleteEvent) -> None:
        """Called when a moderator deletes many messages."""
        for message_id in deletion.message_ids:
            await self._take(events.withdrawal(message_id), deletion.channel_id)

    async def on_raw_reaction_add(self, reaction: discord.RawReactionActionEvent) -> None:
        """Called for every reaction."""
        await self._take(events.stop(reaction), reaction.channel_id)

    async def _read(self, message_id: int, channel: int, read: Callable[[], Event | None]) -> None:
        id = events.id_of(message_id)
        if self._shared.has_hung(id):
            log.error("event given up, the process has hung on it", extra={"event_id": id})
            return
        with working_on(f"event:{id}"):
            await self._take(read(), channel)

    async def _take(self, event: Event | None, channel: int) -> None:
        self.handling.join()
        if event:
            with self._shard.gap.unless_delivered():
                await self._hand_over(event, channel)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """Called in the `except` block of a handler that failed: a message it had is lost."""
        log.error("handler failed", extra={"handler": event_method}, exc_info=sys.exception())
