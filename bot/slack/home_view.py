"""The Home tab as a view of Slack. Pure.

https://docs.slack.dev/reference/views/home-tab-views
"""

import re
from collections.abc import Iterator, Sequence

from bot.chat import Json
from bot.chat.text import shorten
from bot.commands import home_texts as texts
from bot.commands.home import Home
from bot.commands.memory import KnownFact, KnownThread, MemoryOverview
from bot.slack.markdown import clip
from bot.slack.mrkdwn import mrkdwn

REFRESH, FORGET, FORGET_ALL, EXPORT = "home:refresh", "home:forget", "home:forget_all", "home:export"
"""The `action_id`s of the buttons."""

_MOST_BLOCKS = 100
_MOST_TEXT = 3_000
_MOST_LINE = 300
_THREAD = re.compile(r"slack:([a-z0-9]+):([a-z0-9]+):([0-9]+)\.([0-9]+)")


def home_view(home: Home, notice: str, channel: str, url: str, team: str) -> Json:
    """Return the view; `notice` is the answer to the last button, `url` is the workspace's address.

    `channel` comes back with each press of a button, which names none.
    """
    blocks = list(_blocks(home, notice, url, team.lower()))
    return {"type": "home", "private_metadata": channel, "blocks": blocks[:_MOST_BLOCKS]}


def _blocks(home: Home, notice: str, url: str, team: str) -> Iterator[Json]:
    if notice:
        yield _section(notice)
    yield _section(texts.WELCOME)
    yield {"type": "actions", "elements": [_button(REFRESH, texts.REFRESH)]}
    for title, text in ((texts.HEALTH, home.health), (texts.USAGE, home.usage)):
        if text:
            yield from (_header(title), _section(text))
    if home.memory:
        yield from _memory(home.memory)
        yield from _threads(home.memory.threads, url, team)
    elif home.trouble:
        yield from (_header(texts.MEMORY), _section(home.trouble))
    for title, text in ((texts.FEEDBACK, home.feedback), (texts.SETTINGS, home.settings)):
        if text:
            yield from (_header(title), _section(text))


def _memory(memory: MemoryOverview) -> Iterator[Json]:
    yield _header(texts.MEMORY)
    yield _section(texts.memory(memory.facts, memory.questions, is_on=memory.is_on))
    yield from map(_fact, memory.newest)
    if memory.facts > len(memory.newest):
        yield _section(texts.more_facts(memory.facts - len(memory.newest)))
    forget = _button(FORGET_ALL, texts.FORGET_ALL) | {
        "style": "danger",
        "confirm": _confirm(texts.CONFIRM_ALL, texts.FORGET_ALL),
    }
    yield {"type": "actions", "elements": [_button(EXPORT, texts.EXPORT), forget]}


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


def _threads(threads: Sequence[KnownThread], url: str, team: str) -> Iterator[Json]:
    yield _header(texts.THREADS)
    if not threads:
        yield _section(texts.NO_THREADS)
    for thread in threads:
        element = {"type": "text", "text": clip(f"{thread.question or '…'} ({thread.about})", _MOST_LINE)}
        if address := _link(thread, url, team):
            element |= {"type": "link", "url": address}
        yield {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [element]}]}


def _link(thread: KnownThread, url: str, team: str) -> str:
    """Return the address of a thread of this workspace, or nothing for one elsewhere."""
    found = _THREAD.fullmatch(thread.thread)
    if not found or not url or found[1] != team:
        return ""
    return f"{url}archives/{found[2].upper()}/p{found[3]}{found[4]}"


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
