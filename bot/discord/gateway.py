"""Listener of one shard: events of one gateway session and its reconnections."""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import Any, TypeVar

import discord
from discord.gateway import KeepAliveHandler

from bot.chat import Correction, Deliver, Event, InboxLookup, Message, Unreachable, name_work
from bot.commands.commands import Commands
from bot.concurrency.tasks import cancel
from bot.discord import events
from bot.discord.answer_buttons import ActionButton, RateButton
from bot.discord.client import Client
from bot.discord.commands import CommandTree
from bot.discord.errors import translate_errors
from bot.discord.forms import is_form, take_form
from bot.discord.handlers import Handlers, HandOver
from bot.discord.history import History
from bot.discord.identify import IdentifyQueue, IdentifyTurn
from bot.discord.payloads import Payload, read_guild, read_message
from bot.discord.request_buttons import REQUEST_ITEMS
from bot.discord.responses import apologise
from bot.discord.shard import Shard
from bot.discord.texts import BUTTON_LOST, FORM_LOST
from bot.discord.timing import Timing

log = logging.getLogger(__name__)

Parser = Callable[[Any], None]
Result = TypeVar("Result")


class Listener(Client):
    """Client that listens to a shard and serves commands. It cannot be used again after it is closed."""

    def __init__(
        self,
        shard: Shard,
        deliver: Deliver,
        commands: Commands,
        lookup: InboxLookup,
        identify_queue: IdentifyQueue,
        bots: Set[str],
        timing: Timing,
    ) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        super().__init__(
            intents,
            shard_id=shard.number,
            shard_count=shard.count,
            max_messages=None,
            guild_ready_timeout=0,  # seconds; nothing waits for on_ready, and its timer outlives the client
        )
        self._hand_over = HandOver(deliver, timing)
        self._lookup = lookup
        self._bots = bots
        self._history = History(self, lookup, self.parse_past)
        self.commands = commands
        self.handlers = Handlers()
        self._tree = CommandTree(self, commands, self.handlers, self._hand_over, timing)
        self.add_dynamic_items(*REQUEST_ITEMS, RateButton, ActionButton)
        self._identify_queue = identify_queue
        self._turn: IdentifyTurn | None = None
        self._shard = shard
        self._timing = timing
        self._take_over_parsing()

    def _take_over_parsing(self) -> None:
        """Log and skip events that discord.py cannot read, instead of ending the connection."""
        state: Any = self._connection
        parsers: dict[str, Parser] = state.parsers  # the table in which connections look up events
        parsers["MESSAGE_CREATE"] = self._on_message_create
        parsers["MESSAGE_UPDATE"] = self._on_message_update
        parsers["GUILD_CREATE"] = partial(self._on_guild_create, parsers["GUILD_CREATE"])
        for name, parser in parsers.items():
            parsers[name] = partial(_parse, name, parser)

    async def listen(self, token: str) -> None:
        """Listen until cancelled or until the session ends. Raises `PlatformError`, or `StorageDown`."""
        syncing: asyncio.Task[None] | None = None
        try:
            with translate_errors(is_reading=True):
                await self.login(token)
            if self._shard.number == 0:
                syncing = asyncio.create_task(self._tree.keep_synced(), name="discord commands")
            with translate_errors():
                # before connecting: discord.py allows a minute for that, and waiting may take longer
                async with self._identify_queue.turn(self._shard.number) as self._turn:
                    await self.connect()
            raise Unreachable("Discord's gateway connection ended")
        except AttributeError as error:
            # discord.py looks up the session of the lost connection, even if there was none yet (client.py,
            # the end of Client.connect, 2.7.1)
            if getattr(self, "ws", None) is not None:
                raise
            raise Unreachable("Discord's gateway cannot be reached") from error
        finally:
            self._shard.connection.mark_lost()
            self._stop_heartbeats()
            if syncing:
                await cancel(syncing)
            await self.handlers.finish(self._timing.handler_grace)

    def _stop_heartbeats(self) -> None:
        """End the heartbeats of a connection whose session never began.

        discord.py starts their thread before IDENTIFY, and loses it when that fails (gateway.py,
        DiscordWebSocket.from_client, 2.7.1): it would continue for a minute.
        """
        for thread in threading.enumerate():
            if isinstance(thread, KeepAliveHandler) and thread.ws._connection is self._connection:
                thread.stop()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Use the turn before a session begins; a second session needs a new client, which queues first."""
        if not initial or self._turn is None:
            raise Unreachable("Discord has ended the session")
        await self._turn.use()

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Note what an event says about the connection, and dispatch it."""
        match event:
            case "socket_event_type":
                self._shard.connection.note_event()
            case "connect" | "resumed":
                self._shard.presence = "" if event == "connect" else None
                self._shard.connection.mark_connected()
            case "disconnect":
                self._shard.connection.mark_lost()
            case "interaction":
                self._shard.note_language(args[0].user.id, str(args[0].locale))
                if self._is_forgotten(args[0]):
                    self.dispatch("forgotten_interaction", args[0])
        if not self.is_closed():  # else it has no loop for handlers; the next session reads the history
            super().dispatch(event, *args, **kwargs)

    async def on_ready(self) -> None:
        """Start catching up after each new session: Discord does not send earlier messages again."""
        log.info("Discord connected", extra={"shard": self._shard.number, "user": str(self.user)})
        self._shard.open(self._history.read)

    def parse(self, data: Payload, channel: object = None) -> Message | None:
        """Read a message of the gateway, or of the history of a `channel`, which lacks details."""
        if channel is None and _is_in_group(data):
            return None

        def read(message: discord.Message, unreadable: Sequence[str]) -> Message | None:
            assert self.user is not None  # set by login
            languages = self._shard.languages
            return events.parse_message(message, self.user.id, self._bots, unreadable, languages)

        return self._read_unless_hung(data, lambda: read_message(self, data, read, channel))

    def parse_past(self, data: Payload, channel: object) -> Message | Correction | None:
        """Read a message from the history, as a `Correction` if it was edited.

        The event of that edit may still arrive, and must be recognised as a duplicate.
        """
        parsed = self.parse(data, channel)
        if parsed is None or parsed.bot_ids or not data.get("edited_timestamp"):
            return parsed
        return (
            self._read_unless_hung(data, lambda: read_message(self, data, self._correction, channel))
            or parsed
        )

    def _on_message_create(self, data: Payload) -> None:
        event = self.parse(data)
        if event:
            self.dispatch("chat_event", event, int(data["channel_id"]))

    def _on_message_update(self, data: Payload) -> None:
        # without a time it is a link preview, or the start of a thread
        if data.get("edited_timestamp") and not _is_in_group(data):
            event = self._read_unless_hung(data, lambda: read_message(self, data, self._correction))
            if event:
                self.dispatch("chat_event", event, int(data["channel_id"]))

    def _read_unless_hung(self, data: Payload, read: Callable[[], Result | None]) -> Result | None:
        """Read a message unless the process has hung on it before; a hang meanwhile is attributed to it."""
        id = events.id_of(int(data["id"]))
        if self._lookup.has_hung(id):
            log.error("event given up, the process has hung on it", extra={"event_id": id})
            return None
        with name_work(f"event:{id}"):
            return read()

    def _correction(self, message: discord.Message, unreadable: Sequence[str]) -> Correction | None:
        assert self.user is not None  # set by login
        if "content" in unreadable:  # the question stays unchanged
            return None
        return events.parse_correction(message, self.user.id, unreadable, self._shard.languages)

    def _on_guild_create(self, parser: "Parser", data: Payload) -> None:
        try:
            parser(data)
        except Exception:  # noqa: BLE001 - discord.py indexes raw JSON: KeyError, TypeError, …; read_guild logs
            parser(read_guild(self, data))

    async def on_chat_event(self, event: Event, channel: int) -> None:
        """Deliver a message or an edit, also of an older message."""
        await self._accept(event, channel)

    async def on_raw_message_delete(self, deletion: discord.RawMessageDeleteEvent) -> None:
        """Deliver the deletion of a message."""
        await self._accept(events.parse_withdrawal(deletion.message_id), deletion.channel_id)

    async def on_raw_bulk_message_delete(self, deletion: discord.RawBulkMessageDeleteEvent) -> None:
        """Deliver the deletions when a moderator deletes many messages."""
        for message_id in deletion.message_ids:
            await self._accept(events.parse_withdrawal(message_id), deletion.channel_id)

    async def on_raw_reaction_add(self, reaction: discord.RawReactionActionEvent) -> None:
        """Deliver a reaction that is a stop."""
        await self._accept(events.parse_stop(reaction), reaction.channel_id)

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Take what is submitted in a form; discord.py itself handles commands and buttons."""
        self.handlers.join()
        try:
            await take_form(interaction, self.commands)
        except Exception as error:  # noqa: BLE001 - Discord would let the user wait
            await apologise(interaction, error)

    def _is_forgotten(self, interaction: discord.Interaction[Any]) -> bool:
        """Return whether nothing handles a button or form; true for forms from before a restart.

        Call it before the handler of a form has begun: discord.py then forgets the form.
        """
        store: Any = self._connection._view_store
        data: Any = interaction.data or {}
        custom_id = str(data.get("custom_id", ""))
        match interaction.type:
            case discord.InteractionType.modal_submit:
                return not is_form(custom_id) and custom_id not in store._modals
            case discord.InteractionType.component:
                return not any(each.fullmatch(custom_id) for each in store._dynamic_items)
            case _:
                return False

    async def on_forgotten_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Answer with a sentence: Discord would only say that the interaction has failed."""
        self.handlers.join()
        is_form = interaction.type is discord.InteractionType.modal_submit
        try:
            await interaction.response.send_message(FORM_LOST if is_form else BUTTON_LOST, ephemeral=True)
        except discord.HTTPException as error:
            log.warning("interaction not answered", extra={"error": str(error)})

    async def _accept(self, event: Event | None, channel: int) -> None:
        self.handlers.join()
        if event:
            with self._shard.catch_up.unless_delivered():
                await self._hand_over(event, channel)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """Log the current exception of a failed handler, whose message is lost."""
        log.error("handler failed", extra={"handler": event_method}, exc_info=sys.exception())


def _parse(name: str, parser: Parser, data: Payload) -> None:
    """Read one event. Raises `Unreachable` if it is the one that begins the session."""
    try:
        parser(data)
    except Exception as error:  # discord.py indexes raw JSON; one unreadable event must not end the session
        if name == "READY":
            raise Unreachable(f"the start of Discord's session cannot be read: {error!r}") from error
        log.warning("gateway event not read", extra={"gateway_event": name}, exc_info=error)


def _is_in_group(data: Payload) -> bool:
    """Return whether a message outside a guild is in a group of several users."""
    is_direct = "member" not in data and data.get("channel_type", 1) == discord.ChannelType.private.value
    return "guild_id" not in data and not is_direct
