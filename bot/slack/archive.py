"""Archive of a workspace for one user: messages of the channels that they are in, and people.

Search: https://docs.slack.dev/apis/web-api/real-time-search-api/ with the `action_token` of the message;
without a token or the scope, the newest messages of the user's channels are compared with the query.
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
    ReadingRefused,
    Undeliverable,
)
from bot.platforms import texts
from bot.platforms.archive import contains_all, words_of
from bot.slack.audience import reaches_outsiders
from bot.slack.block_text import objects, plain_text, word
from bot.slack.events import ACTION_TOKEN, message_id, moment, name_of
from bot.slack.past import PastMessages, Span, is_open, linked_spans

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
            return await self.past.passage("the linked conversation", team, link.channel, found)
        if wanted.casefold() in _HERE:
            here = Span(self.message.channel, self.message.thread.thread)
            found = await self.past.thread(team, here, most)
            return await self.past.passage("this thread", team, here.channel, found)
        id, name = await self._channel(wanted)
        found = await self.past.channel(team, id, most)
        return await self.past.passage(f"the channel #{name}", team, id, found)

    async def _channel(self, wanted: str) -> tuple[str, str]:
        """Return the id and the name of one of the author's channels. Raises `ReadingRefused`."""
        wanted = wanted.lstrip("#").casefold()
        for each in await self.past.channels_of(self.message):
            id, name = word(each.get("id")), word(each.get("name"))
            if wanted in (id.casefold(), name.casefold()):
                await self.past.require_access(self.message, id)
                return id, name
        raise ReadingRefused(texts.NO_SUCH_CHANNEL)

    async def search(self, query: str, channel: str, most: int) -> Sequence[PastMessage]:
        """Return messages that match, by Slack's search, or among the newest of the author's channels."""
        token = self.message.place.get(ACTION_TOKEN)
        if token and not channel and not reaches_outsiders(self.message):
            try:
                return await self._search(query, token, min(most, _MOST_RESULTS))
            except (CredentialsRejected, Undeliverable) as error:
                log.info("search not available", extra={"error": str(error)})
        if channel:
            channels = [(await self._channel(channel))[0]]
        else:
            known = await self.past.channels_of(self.message)
            listed = [word(each.get("id")) for each in known if is_open(self.message, each)]
            channels = sorted(listed, key=lambda id: id != self.message.channel)[:_MOST_CHANNELS]
        found: list[PastMessage] = []
        for each in channels:
            found += await self._newest(each)
        words = words_of(query)
        matching = [each for each in found if contains_all(f"{each.author} {each.text}", words)]
        return sorted(matching, key=lambda each: -each.sent_at)[:most]

    async def _search(self, query: str, token: str, most: int) -> Sequence[PastMessage]:
        team = self.message.thread.space
        kinds = "public_channel,private_channel" if self.message.direct else "public_channel"
        wanted = {"query": query, "action_token": token, "channel_types": kinds}
        answer = await self.past.call(team, "assistant.search.context", limit=most, **wanted)
        results = answer.get("results")
        who = await self.past.api.who()
        listed = objects(results.get("messages") if isinstance(results, dict) else None)
        return [_result(each, team, who.user_id) for each in listed if moment(each.get("message_ts"))]

    async def _newest(self, channel: str) -> Sequence[PastMessage]:
        """Return the newest messages of a channel; none if the bot is not in it."""
        team = self.message.thread.space
        try:
            found = await self.past.channel(team, channel, _PAGE)
        except Undeliverable as error:
            log.info("channel not searched", extra={"channel": channel, "error": str(error)})
            return []
        return (await self.past.passage("", team, channel, found)).messages

    async def find_people(self, name: str) -> Sequence[Person]:
        """Return members of the workspace whose names contain the words."""
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


def _result(result: Mapping[str, Json], team: str, bot_user_id: str) -> PastMessage:
    """Read one message that Slack's search has found."""
    ts = word(result.get("message_ts"))
    return PastMessage(
        id=message_id(team, word(result.get("channel_id")), ts),
        author=word(result.get("author_name")) or "somebody",
        text=plain_text(word(result.get("content")), bot_user_id),
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
