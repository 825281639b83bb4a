"""Archive of a workspace for one user: messages of the channels that they are in, and people.

Search: https://docs.slack.dev/reference/methods/assistant.search.context with the `action_token` of the
message. Without a token or the scope `search:read.public`, and in private channels, the newest messages of
the user's channels are compared with the query.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.chat import (
    CredentialsRejected,
    Json,
    Message,
    Passage,
    PastMessage,
    Person,
    RateLimited,
    ReadingRefused,
    Undeliverable,
)
from bot.platforms import texts
from bot.platforms.archive import contains_all, words_of
from bot.platforms.context import name_of_other
from bot.slack.audience import reaches_outsiders
from bot.slack.block_text import objects, plain_text, word
from bot.slack.events import ACTION_TOKEN, message_id, moment, name_of
from bot.slack.memberships import ListedChannel, is_open
from bot.slack.past import PastMessages, Span, linked_spans

log = logging.getLogger(__name__)

_HERE = frozenset({"", "here", "this", "thread", "this thread", "this conversation"})
_MOST_CHANNELS = 5
"""Most channels whose newest messages are searched without Slack's own search."""

_PAGE = 200
_MOST_PAGES = 5
"""Most pages of the list of users that are read."""

_MOST_PEOPLE = 10
_MOST_RESULTS = 20
"""Most results of one search on Slack."""


@dataclass(frozen=True, slots=True)
class SlackArchive:
    """Implements `bot.chat.Archive` for the author of `message`."""

    past: PastMessages
    message: Message

    async def read(self, place: str, most: int) -> Passage:
        """Return the newest messages of a linked thread, of a channel, or of this thread."""
        team, wanted = self.message.thread.space, place.strip()
        if link := next(linked_spans(wanted), None):
            await self.past.require_access(self.message, link.channel)
            found = await self.past.thread(team, link, most)
            return await self.past.passage("the linked conversation", self.message, link.channel, found)
        if wanted.casefold() in _HERE:
            here = Span(self.message.thread.channel, self.message.thread.thread)
            found = await self.past.thread(team, here, most)
            return await self.past.passage("this thread", self.message, here.channel, found)
        id, name = await self._channel(wanted)
        found = await self.past.channel(team, id, most)
        return await self.past.passage(f"the channel #{name}", self.message, id, found)

    async def _channel(self, wanted: str) -> tuple[str, str]:
        """Return the id and the name of one of the author's channels. Raises `ReadingRefused`."""
        wanted = wanted.lstrip("#").casefold()

        def is_wanted(channel: ListedChannel) -> bool:
            return wanted in (channel.id.casefold(), channel.name.casefold())

        listed = await self.past.memberships.find(self.message, is_wanted)
        if listed is None:
            raise ReadingRefused(texts.NO_SUCH_CHANNEL)
        await self.past.require_access(self.message, listed.id)
        return listed.id, listed.name

    async def search(self, query: str, channel: str, most: int) -> Sequence[PastMessage]:
        """Return messages that match: of Slack's search, and among the newest of the author's channels."""
        if channel:
            return await self._search_newest([(await self._channel(channel))[0]], query, most)
        found = await self._search(query, min(most, _MOST_RESULTS))
        if found is not None and not self.message.direct:
            return found
        # Slack finds what is public; for private channels there are no scopes that a bot can have
        listed = await self.past.memberships.of(self.message)
        opened = [each for each in listed if is_open(self.message, each)]
        ids = [each.id for each in opened if found is None or not each.is_public]
        channels = sorted(ids, key=lambda id: id != self.message.thread.channel)[:_MOST_CHANNELS]
        newest = await self._search_newest(channels, query, most if found is None else most // 2)
        return [*newest, *(found or ())][:most]

    async def _search(self, query: str, most: int) -> Sequence[PastMessage] | None:
        """Return what Slack's search finds, the best first; None if it is not available."""
        token, team = self.message.place.get(ACTION_TOKEN), self.message.thread.space
        if not token or reaches_outsiders(self.message):
            return None
        wanted = {"query": query, "action_token": token, "channel_types": "public_channel"}
        try:
            answer = await self.past.call(team, "assistant.search.context", limit=most, **wanted)
        except (CredentialsRejected, RateLimited, Undeliverable) as error:
            log.info("search not available", extra={"error": str(error)})
            return None
        results = answer.get("results")
        listed = objects(results.get("messages") if isinstance(results, dict) else None)
        found = [each for each in listed if moment(each.get("message_ts"))]
        names = await self.past.users.names(team, [_author(each) for each in found])
        who = await self.past.api.who()
        return await self.past.named(
            self.message, [_result(each, team, who.user_id, names) for each in found]
        )

    async def _search_newest(self, channels: Sequence[str], query: str, most: int) -> list[PastMessage]:
        """Return the messages that match among the newest of some channels, the newest first."""
        found: list[PastMessage] = []
        for each in channels:
            found += await self._newest(each)
        words = words_of(query)
        matching = [each for each in found if contains_all(f"{each.author} {each.text}", words)]
        return sorted(matching, key=lambda each: -each.sent_at)[:most]

    async def _newest(self, channel: str) -> Sequence[PastMessage]:
        """Return the newest messages of a channel; none if the bot is not in it."""
        team = self.message.thread.space
        try:
            found = await self.past.channel(team, channel, _PAGE)
        except Undeliverable as error:
            log.info("channel not searched", extra={"channel": channel, "error": str(error)})
            return []
        return (await self.past.passage("", self.message, channel, found)).messages

    async def find_people(self, name: str) -> Sequence[Person]:
        """Return members of the workspace whose names contain the words. Raises `ReadingRefused`."""
        if reaches_outsiders(self.message):
            raise ReadingRefused(texts.OUTSIDERS_READ)
        words, found, cursor = words_of(name), list[Person](), ""
        for _ in range(_MOST_PAGES):
            more = {"cursor": cursor} if cursor else {}
            page = await self.past.call(self.message.thread.space, "users.list", limit=_PAGE, **more)
            found += [
                _person(each)
                for each in objects(page.get("members"))
                if not each.get("deleted") and contains_all(_names(each), words)
            ]
            metadata = page.get("response_metadata")
            cursor = word(metadata.get("next_cursor")) if isinstance(metadata, dict) else ""
            if not cursor or len(found) >= _MOST_PEOPLE:
                break
        return found[:_MOST_PEOPLE]


def _author(result: Mapping[str, Json]) -> str:
    """Return the user whose name has to be looked up; empty if the result has it."""
    return "" if word(result.get("author_name")) else word(result.get("author_user_id"))


def _result(result: Mapping[str, Json], team: str, bot_user_id: str, names: Mapping[str, str]) -> PastMessage:
    """Read one message that Slack's search has found."""
    ts, user = word(result.get("message_ts")), word(result.get("author_user_id"))
    author = word(result.get("author_name")) or names.get(user, "")
    id = message_id(team, word(result.get("channel_id")), ts)
    # some bots have no user; without any id, no two messages are taken for those of one author
    account = user or word(result.get("bot_id")) or id
    return PastMessage(
        id=id,
        author="you" if user == bot_user_id else name_of_other(author, f"slack:{account}"),
        text=plain_text(result.get("content"), bot_user_id),
        sent_at=moment(ts),
        link=word(result.get("permalink")),
    )


def _profile(user: Mapping[str, Json]) -> Mapping[str, Json]:
    profile = user.get("profile")
    return profile if isinstance(profile, dict) else {}


def _names(user: Mapping[str, Json]) -> str:
    return " ".join([name_of(user), word(user.get("real_name")), word(user.get("name"))])


def _person(user: Mapping[str, Json]) -> Person:
    return Person(
        name=name_of(user),
        full_name=word(user.get("real_name")),
        title=word(_profile(user).get("title")),
        time_zone=word(user.get("tz")),
    )
