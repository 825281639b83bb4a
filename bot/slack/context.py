"""Context of messages: the thread that one was written in, and the messages that it links to."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from bot.chat import Context, Message, Passage, PastMessage, PlatformError, ReadContext, Since
from bot.chat.text import one_line
from bot.platforms import texts
from bot.platforms.context import PassageReading, read_passages
from bot.slack.app_context import APP_CONTEXT
from bot.slack.events import moment
from bot.slack.memberships import is_open
from bot.slack.past import PastMessages, Span, linked_spans
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

_MOST_LINKS = 3
_MOST_NAME = 80


@dataclass(frozen=True, slots=True)
class Contexts:
    """Contexts of messages; implements `bot.chat.ContextSource`."""

    past: PastMessages
    timing: Timing

    def context(self, message: Message, since: Since | None) -> ReadContext | None:
        """Return the function that reads the context of a message, or None if there is none."""
        is_reply = not message.direct and message.place.get("ts") != message.thread.thread
        after = _begin(since) if is_reply and since is not None else None
        links = [] if message.bot_ids else _links(message)
        if after is None and not links and APP_CONTEXT not in message.place:
            return None
        return partial(self._read, message, after, links)

    async def _read(self, message: Message, after: str | None, links: Sequence[Span], most: int) -> Context:
        readings = [
            PassageReading(texts.LINKED, self._linked(message, link, max(most // len(links), 1)))
            for link in links
        ]
        if after is not None:
            readings.insert(0, PassageReading(texts.THREAD, self._thread(message, after, most), is_own=True))
        context = await read_passages(readings, "Slack", self.timing.context_timeout)
        hint = await self._open_place(message)
        return replace(context, passages=(*context.passages, hint)) if hint else context

    async def _open_place(self, message: Message) -> Passage | None:
        """Return what the author has open in Slack, if they can read it; nothing if in doubt."""
        channel, _, ts = message.place.get(APP_CONTEXT, "").partition(":")
        if not channel:
            return None
        try:
            async with asyncio.timeout(self.timing.app_context_timeout):
                # each direct message may have such a hint, and few lists are requested a minute
                joined = await self.past.memberships.known_now(message.thread.space, message.place["user"])
                link = (await self.past.link(channel, ts)) if ts else ""
        except (PlatformError, TimeoutError) as error:
            log.info("app context not read", extra={"error": repr(error)})
            return None
        listed = next((each for each in joined if each.id == channel), None)
        if listed is None or not is_open(message, listed):
            return None
        text = f"The user has the channel #{one_line(listed.name, _MOST_NAME)} open" + (
            f", at the message {link}" if link else ""
        )
        hint = PastMessage(id=f"{message.id}:open", author="Slack", text=text, sent_at=message.sent_at)
        return Passage(source="what the user has open beside you, perhaps unrelated", messages=(hint,))

    async def _thread(self, message: Message, after: str, most: int) -> Passage:
        team = message.thread.space
        here = Span(message.thread.channel, message.thread.thread, message.place["ts"])
        found = await self.past.thread(team, here, most, after)
        source = "this thread, before this message"
        return await self.past.passage(source, message, message.thread.channel, found, after)

    async def _linked(self, message: Message, link: Span, most: int) -> Passage:
        """Return a linked message, with its thread up to there. Raises `ReadingRefused`."""
        team = message.thread.space
        await self.past.require_access(message, link.channel)
        found = await self.past.thread(team, link, most)
        return await self.past.passage("the linked conversation", message, link.channel, found)


def _links(message: Message) -> list[Span]:
    """Return the messages that the author's own words link to, except those of the same thread."""
    found = dict.fromkeys(linked_spans(message.text))
    here = (message.thread.channel, message.thread.thread)
    return [each for each in found if (each.channel, each.root) != here][:_MOST_LINKS]


def _begin(since: Since) -> str:
    """Return the `ts` after which is read, empty for the begin of a thread; an id is `slack:T…:C…:ts`."""
    ts = "".join(since.after.split(":")[3:4])
    just_before = f"{since.at - 1e-6:.6f}" if since.at else ""
    return min(filter(moment, (ts, just_before)), key=moment, default="")
