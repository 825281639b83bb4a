"""Messages of one answer."""

import asyncio
import hashlib
import logging
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from unicodedata import category

from bot.chat import NO_BUTTONS, AnswerButtons, Json, Receipt, Turn, Undeliverable
from bot.discord.answer_buttons import answer_view
from bot.discord.api import DiscordApi, SentMessage
from bot.discord.destination import Destination
from bot.discord.errors import Refused, ThreadArchived, ThreadLocked
from bot.discord.part_timeout import PartTimeout
from bot.discord.texts import REST_REFUSED
from bot.discord.threads import reopen_thread
from bot.platforms.texts import REST, not_shown

log = logging.getLogger(__name__)

_LONGEST = 2_000
"""Most characters of a message, counted in UTF-16 units: the strictest way."""

_CONTROL = frozenset({"Cc", "Cs"})

NONCE = 25
"""Most characters of a nonce."""

CLOCKS = timedelta(seconds=5)
"""Largest expected difference between the clocks of the bot and of Discord."""


class EditPace:
    """Pace of edits: one in each channel every `interval` seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._free_at: dict[int, float] = {}

    async def turn(self, channel: int) -> None:
        """Wait until the next edit in this channel is allowed."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._free_at.get(channel, now))
        self._free_at = {each: free for each, free in self._free_at.items() if free > now}
        self._free_at[channel] = at + self._interval
        await asyncio.sleep(at - now)


def nonce_of(turn: Turn, purpose: str) -> str:
    """Return the nonce that makes a message the same on every attempt at a turn."""
    return hashlib.sha256(f"{turn.id}:{purpose}".encode()).hexdigest()[:NONCE]


async def find_messages(
    api: DiscordApi,
    destination: Destination,
    at: float,
    limit: AbstractAsyncContextManager[None] | None = None,
) -> list[SentMessage]:
    """Return the bot's messages in a place since `at` (Unix seconds); none if the bot may not read there.

    In that case the nonce still prevents duplicates for some minutes.
    """
    since = datetime.fromtimestamp(at, UTC) - CLOCKS
    try:
        async with limit or nullcontext():
            return await api.messages_since(destination.channel, since, reply_to=destination.reply_to)
    except Undeliverable:
        return []


def plain_text(text: str) -> str:
    """Return a text without control characters, cut to the length that Discord certainly takes.

    Blanks of all kinds and zero-width characters remain: the latter make markup inert.
    """
    plain = "".join(
        each for each in text.replace("\t", " ") if each == "\n" or category(each) not in _CONTROL
    )
    units = plain.encode("utf-16-le")
    if len(units) <= 2 * _LONGEST:
        return plain
    return units[: 2 * (_LONGEST - 1)].decode("utf-16-le", "ignore") + "…"


class ReplyMessages:
    """Keeps the messages on Discord, the given texts and the receipt equal.

    Keys of the receipt: `messages` (ids), `shown` (characters), and while a message is being sent
    `sending` (its text, the time, the characters `shown` with it, and the number of the message that it
    `replaces`), since it may have arrived without an answer. `replaced` holds the numbers of those that
    were sent again, `obsolete` the id of a replaced message that is not deleted yet, `cut_short` is set once
    Discord has refused a text for good, and `plain` holds the numbers of those that are sent as plain text.
    """

    def __init__(
        self, api: DiscordApi, destination: Destination, receipt: Receipt, part_timeout: PartTimeout
    ) -> None:
        self._api = api
        self._destination = destination
        self._receipt = receipt
        self._part_timeout = part_timeout
        self._ids = [int(id) for id in receipt.state.get("messages", [])]
        self._texts: list[str | None] = [None] * len(self._ids)  # None: from an earlier attempt, not known
        self._buttons: list[AnswerButtons | None] = [None] * len(self._ids)
        self.buttons = NO_BUTTONS
        """Buttons below the last message."""

    @property
    def channel(self) -> int:
        """Return the channel of the messages."""
        return self._destination.channel

    @property
    def shown(self) -> int:
        """Return the characters that were shown last, or were about to be, possibly by an earlier attempt."""
        return int(self._receipt.state.get("shown", 0))

    @property
    def has_any(self) -> bool:
        """Return whether there is a message to edit."""
        return bool(self._ids)

    @property
    def _is_moved(self) -> bool:
        """Return whether the answer is outside its space, where nobody can rate or repeat it."""
        return bool(self._receipt.state.get("moved"))

    async def recover(self) -> bool:
        """Find the messages of an earlier attempt; return whether there may be any."""
        sending: dict[str, Json] | None = self._receipt.state.get("sending")
        if sending:
            await self._find(sending)
        await self._take_back_obsolete()
        return bool(sending or self._ids)

    async def _find(self, sending: dict[str, Json]) -> None:
        bound = self._part_timeout.limit("history")
        recent = await find_messages(self._api, self._destination, sending["at"], bound)
        for message in recent:
            if message.id not in self._ids and message.text == sending["text"].strip():
                if "replaces" in sending:
                    await self._put_in_place(sending["replaces"], message.id)
                else:
                    self._keep(message.id, message.text, sending.get("shown", 0))
                return

    async def show(self, texts: list[str]) -> None:
        """Edit existing messages so that they show `texts`, and send the rest.

        A message that cannot be edited is sent again once, and then once as plain text. If Discord refuses
        that, too, a last message says that the answer is incomplete, and nothing more is shown.
        """
        if self._receipt.state.get("cut_short"):
            return
        shown = sum(map(len, texts))
        if shown != self._receipt.state.get("shown"):
            self._receipt.note(shown=shown)  # stored before they are: an attempt after a crash shows no less
        try:
            for index, text in enumerate(texts):
                is_last = index == len(texts) - 1
                buttons = self.buttons if is_last and not self._is_moved else NO_BUTTONS
                await self._show_somehow(index, text, buttons)
        except Refused as error:
            log.warning("answer cut short", extra={"reason": str(error)})
            await self._post(not_shown(REST, REST_REFUSED), len(self._ids), "cut short")
            await self._receipt.save(cut_short=True, sending=None)
            return

    async def finish(self, texts: list[str]) -> None:
        """Show the final `texts`, and delete surplus messages of an earlier attempt."""
        await self.show(texts)
        for extra in self._ids[len(texts) :]:
            await self._take_back(extra)
        self._receipt.note(messages=[str(id) for id in self._ids[: len(texts)]], finished=True)

    async def _show_somehow(self, index: int, text: str, buttons: AnswerButtons) -> None:
        plain: list[int] = self._receipt.state.get("plain", [])
        try:
            await self._show_one(index, plain_text(text) if index in plain else text, buttons)
        except Refused as error:
            if index in plain:
                raise
            log.warning("message refused", extra={"reason": str(error)})
            await self._receipt.save(plain=[*plain, index])
            await self._show_one(index, plain_text(text), buttons)

    async def _show_one(self, index: int, text: str, buttons: AnswerButtons) -> None:
        """Make a message show a text with buttons; while it grows, its buttons are those of its end."""
        if index == len(self._ids):
            await self._send(text, buttons)
        before = self._buttons[index]
        if self._texts[index] == text and before == buttons:
            return
        try:
            await self._edit_open(index, text, buttons)
        except Refused as error:
            log.info("message not edited", extra={"reason": str(error)})
            await self._replace(index, text, buttons)
        self._texts[index], self._buttons[index] = text, buttons

    async def _edit_open(self, index: int, text: str, buttons: AnswerButtons) -> None:
        """Edit a message, and reopen its thread for a new text if somebody has archived it meanwhile."""
        try:
            await self._edit(index, text, buttons)
        except ThreadArchived as error:
            if self._texts[index] == text:  # for buttons alone no thread is reopened
                log.info("buttons not changed, the thread is archived", extra={"reason": str(error)})
                return
            await self._reopen(error)
            await self._edit(index, text, buttons)

    async def _reopen(self, refusal: ThreadArchived) -> None:
        """Reopen the thread. Raises `refusal` if that is not allowed: a new message reopens it, too."""
        try:
            async with self._part_timeout.limit("reopen"):
                await reopen_thread(self._api, self._destination.channel, hold=self._receipt.hold)
        except ThreadLocked:
            raise
        except Undeliverable as error:
            log.info("thread not reopened", extra={"reason": str(error)})
            raise refusal from error
        log.info("thread reopened", extra={"channel": self._destination.channel})

    async def _edit(self, index: int, text: str, buttons: AnswerButtons) -> None:
        before = self._buttons[index]
        async with self._part_timeout.limit(f"text {index}"):
            await self._api.edit(
                self._destination.channel,
                self._ids[index],
                text,
                hold=self._receipt.hold,
                buttons=None if before == buttons else answer_view(buttons),
                without_buttons=before != buttons and not buttons.answer,
            )

    async def _replace(self, index: int, text: str, buttons: AnswerButtons) -> None:
        replaced: list[int] = self._receipt.state.get("replaced", [])
        if index in replaced:
            raise Refused("Discord refuses edits of a message that was already sent again")
        await self._receipt.save(sending={"text": text, "at": time.time(), "replaces": index})
        sent = await self._post(text, index, f"{index} again", buttons)
        await self._put_in_place(index, sent.id)

    async def _put_in_place(self, index: int, id: int) -> None:
        obsolete, self._ids[index] = self._ids[index], id
        await self._receipt.save(
            messages=[str(each) for each in self._ids],
            replaced=[*self._receipt.state.get("replaced", []), index],
            sending=None,
            obsolete=str(obsolete),
        )
        await self._take_back_obsolete()

    async def _take_back_obsolete(self) -> None:
        obsolete = self._receipt.state.get("obsolete")
        if obsolete:
            await self._take_back(int(obsolete))
            await self._receipt.save(obsolete=None)

    async def _take_back(self, id: int) -> None:
        try:
            async with self._part_timeout.limit(f"deletion {id}"):
                await self._api.delete(self._destination.channel, id, hold=self._receipt.hold)
        except Refused as error:
            log.info("message not deleted", extra={"reason": str(error)})

    async def _send(self, text: str, buttons: AnswerButtons) -> None:
        shown = sum(len(each or "") for each in self._texts) + len(text)
        await self._receipt.save(sending={"text": text, "at": time.time(), "shown": shown})
        sent = await self._post(text, len(self._ids), str(len(self._ids)), buttons)
        # Discord trims stored texts: only the text of another attempt differs by more than that
        is_same = sent.text == text.strip()
        self._keep(sent.id, text if is_same else sent.text, shown, buttons if is_same else None)

    async def _post(
        self, text: str, index: int, purpose: str, buttons: AnswerButtons = NO_BUTTONS
    ) -> SentMessage:
        """Send a message; attempts with the same `purpose` in a turn send it only once."""
        is_plain = index in self._receipt.state.get("plain", [])
        if self._is_moved:  # a nonce holds in all channels
            purpose = f"moved {purpose}"
        async with self._part_timeout.limit(f"text {index}"):
            return await self._api.send(
                self._destination.channel,
                text,
                nonce=nonce_of(self._receipt.turn, purpose),
                reply_to=None if is_plain else self._destination.reply_to,
                hold=self._receipt.hold,
                buttons=answer_view(buttons),
            )

    def _keep(self, id: int, text: str, shown: int, buttons: AnswerButtons | None = None) -> None:
        self._ids.append(id)
        self._texts.append(text)
        self._buttons.append(buttons)
        ids = [str(each) for each in self._ids]
        self._receipt.note(messages=ids, sending=None, shown=max(shown, self.shown))
