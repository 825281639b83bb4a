"""Channel history: messages that were written while the bot was not connected.

https://docs.slack.dev/reference/methods/conversations.history (without replies in threads) and
https://docs.slack.dev/reference/methods/conversations.replies.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from functools import partial

from bot.chat import (
    Coordination,
    Correction,
    CredentialsRejected,
    Deliver,
    InboxLookup,
    Json,
    Message,
    RateLimited,
    ThreadId,
    Undeliverable,
    name_work,
)
from bot.slack.api import Identity, SlackApi, pages
from bot.slack.block_text import word
from bot.slack.events import Unreadable, event_id, moment, parse_past_event
from bot.slack.rate_limits import RateLimits

log = logging.getLogger(__name__)

_KINDS = "public_channel,private_channel,mpim,im"
_JOINED = frozenset({"channel_join", "group_join"})


class ActiveThreads:
    """Threads with recent messages. One request serves all workspaces that wait for it."""

    def __init__(self, lookup: InboxLookup) -> None:
        self._lookup = lookup
        self._order = asyncio.Lock()
        self._read_at = self._since = float("inf")
        self._found: Mapping[str, Sequence[ThreadId]] = {}

    async def of(self, team: str, since: float) -> Sequence[ThreadId]:
        """Return the threads of a workspace with a message after `since`, or earlier."""
        called_at = time.monotonic()
        async with self._order:
            if not (called_at <= self._read_at < float("inf") and self._since <= since):
                self._read_at, self._since = time.monotonic(), since
                found: defaultdict[str, list[ThreadId]] = defaultdict(list)
                for thread in await self._lookup.active_threads("slack", since):
                    found[thread.space].append(thread)
                self._found = found
            return self._found.get(team, ())


class History:
    """History of all conversations that the bot is in."""

    def __init__(
        self,
        api: SlackApi,
        limits: RateLimits,
        coordination: Coordination,
        lookup: InboxLookup,
        bots: Set[str] = frozenset(),
        active_threads: "ActiveThreads | None" = None,
    ) -> None:
        self._active_threads = active_threads or ActiveThreads(lookup)
        self._api = api
        self._limits = limits
        self._coordination = coordination
        self._lookup = lookup
        self._bots = bots

    async def read(self, who: Identity, since: float, active_since: float, deliver: Deliver) -> float:
        """Deliver what was written after `since`, conversation by conversation, oldest first.

        Threads are read if they had a message after `active_since`. Direct messages come first, then channels
        with such threads: under the strictest limit (one request a minute, for apps that are sold outside the
        Marketplace) reading everything takes long. Returns the age in seconds of the oldest message that was
        not known yet; 0 if there was none.
        """
        threads: defaultdict[str, set[str]] = defaultdict(set)
        for thread in await self._active_threads.of(who.team_id, active_since):
            threads[thread.channel].add(thread.thread)
        listed = self._pages(who, "users.conversations", "channels", types=_KINDS)
        conversations = [each async for each in listed if word(each.get("id"))]
        missed = 0.0
        for conversation in sorted(
            conversations, key=lambda each: (not each.get("is_im"), each["id"] not in threads)
        ):
            known = threads[conversation["id"]]
            try:
                async for written in self._new_messages(
                    who, conversation, since, min(since, active_since), known
                ):
                    for event in written:
                        missed = max(missed, await self._hand_over(event, deliver))
            except (Undeliverable, CredentialsRejected) as error:  # the others may still be read
                log.warning(
                    "conversation not read", extra={"channel": conversation["id"], "error": str(error)}
                )
        return missed

    async def _new_messages(
        self,
        who: Identity,
        conversation: Mapping[str, Json],
        since: float,
        active_since: float,
        threads: set[str],
    ) -> AsyncIterator[list[Message | Correction]]:
        """Yield what users wrote after `since`: outside threads, then thread by thread, each in time order.

        A root names the time of its latest reply. So roots after `active_since` are read, which takes few
        requests, and replies only of threads that have new ones or an older root. Progress is stored for each
        thread, since reading many takes minutes and the process may end meanwhile.
        """
        channel = conversation["id"]
        reach = {"channel": channel, "oldest": f"{active_since:.6f}"}
        history = self._pages(who, "conversations.history", "messages", **reach)
        roots = {each["ts"]: each async for each in history if moment(each.get("ts"))}
        begin = max(since, _join_time(roots.values(), who.user_id))
        yield list(self._messages(roots.values(), begin, conversation, who))
        for root in sorted(roots.keys() | threads, key=float, reverse=True):
            newest = moment(roots[root].get("latest_reply")) if root in roots else float("inf")
            source = f"slack:{who.team_id}:{channel}:{root}"
            if newest <= max(since, await self._coordination.get_cursor(source) or 0):
                continue
            replies = self._replies(who, root, {"channel": channel, "oldest": f"{since:.6f}"})
            found = [each async for each in replies if moment(each.get("ts"))]
            yield list(self._messages(found, begin, conversation, who))
            await self._coordination.set_cursor(source, max((float(each["ts"]) for each in found), default=0))

    async def _replies(
        self, who: Identity, root: str, window: Mapping[str, str]
    ) -> AsyncIterator[Mapping[str, Json]]:
        try:
            async for each in self._pages(who, "conversations.replies", "messages", ts=root, **window):
                yield each
        except Undeliverable as error:  # the thread was deleted in the meantime
            log.info("thread not read", extra={"root": root, "error": str(error)})

    def _messages(
        self,
        written: Iterable[Mapping[str, Json]],
        begin: float,
        conversation: Mapping[str, Json],
        who: Identity,
    ) -> Iterable[Message | Correction]:
        """Return what users wrote after `begin`, in time order."""
        bots, channel, kind = self._bots - who.names, conversation["id"], _kind(conversation)
        is_shared = bool(conversation.get("is_ext_shared"))
        for each in sorted(written, key=lambda each: float(each["ts"])):
            id = event_id(each, channel)
            if self._lookup.has_hung(id):
                log.error("event given up, the process has hung on it", extra={"event_id": id})
                continue
            try:
                with name_work(f"event:{id}"):
                    event = parse_past_event(
                        each, channel, kind, who.team_id, who.user_id, bots, is_shared=is_shared
                    )
            except Unreadable as error:
                log.warning("message skipped", extra={"channel": channel, "error": str(error)})
                continue
            if event and _message(event).sent_at > begin:
                yield event

    async def _hand_over(self, event: Message | Correction, deliver: Deliver) -> float:
        message = _message(event)
        is_known = await self._lookup.is_known(message.id)
        await deliver(event)
        return 0.0 if is_known or not message.addressed else time.time() - message.sent_at

    def _pages(
        self, who: Identity, method: str, items: str, **arguments: str
    ) -> AsyncIterator[Mapping[str, Json]]:
        return pages(partial(self._call, who), method, items, **arguments)

    async def _call(self, who: Identity, method: str, **arguments: str | int) -> Mapping[str, Json]:
        while True:
            await self._limits.wait(who.team_id, method)
            try:
                return await self._api.read(method, **arguments)
            except RateLimited as error:
                log.info("request rate-limited", extra={"method": method, "seconds": error.retry_after})
                await asyncio.sleep(error.retry_after)


def _message(event: Message | Correction) -> Message:
    return event.message if isinstance(event, Correction) else event


def _join_time(messages: Iterable[Mapping[str, Json]], bot_user_id: str) -> float:
    """Return when the bot joined the conversation, if that is known: earlier messages were not for it."""
    joins = (each for each in messages if each.get("subtype") in _JOINED and each.get("user") == bot_user_id)
    return max((float(each["ts"]) for each in joins), default=0.0)


def _kind(conversation: Mapping[str, Json]) -> str:
    """Return the `channel_type` of a conversation, as in events."""
    if conversation.get("is_im"):
        return "im"
    if conversation.get("is_mpim"):
        return "mpim"
    return "group" if conversation.get("is_private") else "channel"
