"""The Home tab as a view of Slack. Pure.

https://docs.slack.dev/reference/views/home-tab-views
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bot.chat import Json, Refuse
from bot.chat.text import shorten
from bot.commands import home_texts as texts
from bot.commands.decisions import WaitingRequest
from bot.commands.home import Home, Unread
from bot.commands.memory import FACTS_OF_PAGE, KnownFact, KnownThread, MemoryOverview
from bot.slack.markdown import clip
from bot.slack.mrkdwn import mrkdwn

REFRESH, FORGET, FORGET_ALL, EXPORT = "home:refresh", "home:forget", "home:forget_all", "home:export"
NEWER, OLDER = "home:newer", "home:older"
FEEDBACK, CHANNEL = "home:feedback", "home:channel"
"""The `action_id`s of the buttons, and of the menu of channels."""

_MOST_BLOCKS = 100
_MOST_TEXT = 3_000
_MOST_LINE = 300
_MOST_LISTED = 10
_THREAD = re.compile(r"slack:([a-z0-9]+):([a-z0-9]+):([0-9]+)\.([0-9]+)")


class HomeState(NamedTuple):
    """Private metadata of a tab: the channel of its user's direct messages, and the facts before its page.

    Slack returns it with each press of a button, which names no channel.
    """

    channel: str = ""
    first: int = 0

    def dump(self) -> str:
        """Return the state as Slack keeps it with the view."""
        return f"{self.channel} {self.first}"


def load_state(metadata: str) -> HomeState:
    """Return the state from the result of `dump`, or from that of an earlier version, the channel alone."""
    channel, _, first = metadata.partition(" ")
    return HomeState(channel, number_in(first))


def number_in(value: str) -> int:
    """Return the number in a value; 0 for one that no view has."""
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= 6 else 0


def channel_of(thread: str) -> str:
    """Return the id of the channel of a thread, given as text, in which it is in small letters."""
    return thread.split(":")[2].upper()


@dataclass(frozen=True, slots=True)
class Places:
    """Places that the user of a tab can read; `url` is the address of their workspace, `team` its id.

    `direct` is the channel of their direct messages with the bot. `has_all` is False if there may be more
    `channels`.
    """

    url: str
    team: str
    direct: str
    channels: frozenset[str] = frozenset()
    has_all: bool = True

    def is_here(self, thread: str) -> bool:
        """Return whether a thread, given as text, is of the workspace."""
        found = _THREAD.fullmatch(thread)
        return found is not None and found[1] == self.team.lower()

    def can_read(self, thread: str) -> bool:
        """Return whether the user can read a thread; of those elsewhere it is not known."""
        return self.is_here(thread) and channel_of(thread) in (self.direct, *self.channels)

    def link(self, threads: Sequence[str]) -> str:
        """Return the address of the first of these threads that the user can read, or nothing."""
        for thread in threads:
            found = _THREAD.fullmatch(thread)
            if found and self.url.startswith("https://") and self.can_read(thread):
                return f"{self.url}archives/{found[2].upper()}/p{found[3]}{found[4]}"
        return ""


def home_view(page: Home | Refuse, state: HomeState, notice: str, places: Places, now: float) -> Json:
    """Return the view; `notice` is the answer to the last button, `now` is in Unix seconds."""
    blocks = list(_refusal(page) if isinstance(page, Refuse) else _blocks(page, notice, places, now))
    return {"type": "home", "private_metadata": state.dump(), "blocks": blocks[:_MOST_BLOCKS]}


def _refusal(refusal: Refuse) -> Iterator[Json]:
    yield _section(refusal.sentence)
    yield {"type": "actions", "elements": [_button(REFRESH, texts.REFRESH)]}


def _blocks(home: Home, notice: str, places: Places, now: float) -> Iterator[Json]:
    if notice:
        yield _section(notice)
    yield _section(texts.WELCOME)
    buttons = [_button(REFRESH, texts.REFRESH)]
    buttons += [_button(FEEDBACK, texts.GIVE_FEEDBACK)] if home.feedback else []
    yield {"type": "actions", "elements": buttons}
    yield from _waiting(home.waiting, places, now)
    match home.memory:
        case MemoryOverview():
            yield from _memory(home.memory)
            yield from _threads(home.memory.threads, places)
        case Unread(sentence):
            yield from (_header(texts.MEMORY), _section(sentence))
    yield from _part(texts.USAGE, home.usage)
    yield from _part(texts.FEEDBACK, home.feedback)
    yield from _part(texts.HEALTH, home.health)
    yield from _part(texts.OPINIONS, home.opinions)
    if home.is_admin:
        yield from (_header(texts.SETTINGS), _channels())


def _part(title: str, part: str | Unread) -> Iterator[Json]:
    text = part.sentence if isinstance(part, Unread) else part
    if text:
        yield from (_header(title), _section(text))


def _waiting(requests: Sequence[WaitingRequest] | Unread, places: Places, now: float) -> Iterator[Json]:
    if isinstance(requests, Unread):
        yield from _part(texts.WAITING, requests)
        return
    if requests:
        yield _header(texts.WAITING)
    for request in requests[:_MOST_LISTED]:
        about = texts.waiting(request.kind, request.expires_at - now)
        link = places.link(request.threads)
        if request.kind == "approval" and not link:
            about = f"{about}; {texts.decide_in_words(request.id)}"
        yield _line(f"{request.text} ({about})", link)
    if len(requests) > _MOST_LISTED:
        yield _section(texts.more_waiting(len(requests) - _MOST_LISTED))


def _memory(memory: MemoryOverview) -> Iterator[Json]:
    yield _header(texts.MEMORY)
    yield _section(texts.memory(memory.facts, memory.questions, is_on=memory.is_on))
    yield from map(_fact, memory.page)
    if memory.facts > len(memory.page):
        yield _section(texts.page(memory.first, len(memory.page), memory.facts))
        if pages := list(_pages(memory)):
            yield {"type": "actions", "elements": pages}
    forget = _button(FORGET_ALL, texts.FORGET_ALL) | {
        "style": "danger",
        "confirm": _confirm(texts.CONFIRM_ALL, texts.FORGET_ALL),
    }
    yield {"type": "actions", "elements": [_button(EXPORT, texts.EXPORT), forget]}


def _pages(memory: MemoryOverview) -> Iterator[Json]:
    after = memory.first + FACTS_OF_PAGE
    if memory.first:
        yield _button(NEWER, texts.NEWER) | {"value": str(max(0, memory.first - FACTS_OF_PAGE))}
    if after < memory.facts:
        yield _button(OLDER, texts.OLDER) | {"value": str(after)}


def _fact(fact: KnownFact) -> Json:
    button = _button(FORGET, texts.FORGET) | {
        "value": fact.id,
        "confirm": _confirm(texts.CONFIRM_FACT, texts.FORGET),
    }
    # plain text: nothing in a fact is markup, and it pings nobody
    return {
        "type": "section",
        "text": _plain(clip(f"{fact.text} ({fact.about})", _MOST_LINE)),
        "accessory": button,
    }


def _threads(threads: Sequence[KnownThread], places: Places) -> Iterator[Json]:
    yield _header(texts.THREADS)
    readable = [each for each in threads if places.can_read(each.thread)]
    for thread in readable[:_MOST_LISTED]:
        yield _line(f"{thread.question or '…'} ({thread.about})", places.link([thread.thread]))
    if not places.has_all:
        yield _section(texts.THREADS_NOT_CHECKED)
    elif not readable:
        yield _section(texts.NO_THREADS)


def _channels() -> Json:
    menu = {
        "type": "conversations_select",
        "action_id": CHANNEL,
        "placeholder": _plain(texts.CHANNEL),
        "filter": {"include": ["public", "private"]},
    }
    return _section(texts.CHOOSE_CHANNEL) | {"accessory": menu}


def _line(text: str, link: str) -> Json:
    """Return a line of a list: it is no markup, and a link if there is an address."""
    element = {"type": "text", "text": clip(text, _MOST_LINE)}
    if link:
        element |= {"type": "link", "url": link}
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [element]}]}


def _header(title: str) -> Json:
    return {"type": "header", "text": _plain(title)}


def _section(markdown: str) -> Json:
    text = shorten(mrkdwn(markdown), _MOST_TEXT)
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _button(action: str, label: str) -> Json:
    return {"type": "button", "action_id": action, "text": _plain(label)}


def _confirm(text: str, confirm: str) -> Json:
    return {
        "title": _plain(texts.CONFIRM_TITLE),
        "text": _plain(text),
        "confirm": _plain(confirm),
        "deny": _plain(texts.CONFIRM_NO),
        "style": "danger",
    }


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text, "emoji": False}
