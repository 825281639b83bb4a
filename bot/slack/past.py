"""Earlier messages of threads and channels, for users who can read them.

https://docs.slack.dev/reference/methods/conversations.replies returns the earliest messages first, with the
root always on the first page; `oldest` and `latest` bound the time.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from urllib.parse import parse_qs

from bot.chat import Json, Message, Passage, PastMessage, ReadingRefused
from bot.platforms import texts
from bot.platforms.context import name_of_other
from bot.slack.api import Identity, SlackApi
from bot.slack.block_text import objects, word
from bot.slack.content import content_of
from bot.slack.events import is_written, message_id, moment, written_name
from bot.slack.memberships import Memberships, is_open
from bot.slack.names import Names
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing
from bot.slack.users import Users

_LINK = re.compile(
    r"https://[a-z0-9-]{1,64}(?:\.enterprise)?\.slack\.com/archives/"
    r"([A-Z0-9]{1,20})/p([0-9]{10})([0-9]{6})(?:\?([^\s<>()|]{1,200}))?"
)

_MOST_PAGES = 4
"""Most requests for one thread: one for a short thread, two for a long one, more if its pace varies."""

_TAIL = 999
"""Most messages that are requested of the end of a thread, where a guess tells how many there are."""

_MOST_AUTHORS = 100
"""Most authors of a passage who are looked up: as many as the messages that the agent gets at once."""

Found = tuple[list[Mapping[str, Json]], bool]
"""Messages as Slack sends them, the oldest first; and whether some are left out."""


@dataclass(frozen=True, slots=True)
class Span:
    """Messages of a thread before `ts`, or all of them; `root` is the message that began it."""

    channel: str
    root: str
    ts: str = ""


def linked_spans(text: str) -> Iterator[Span]:
    """Yield the messages that a text links to, each as the last one of its thread that is meant."""
    for match in _LINK.finditer(text):
        ts = f"{match[2]}.{match[3]}"
        (root,) = parse_qs(match[4] or "").get("thread_ts", [ts])[:1]
        is_reply = moment(root) > 0 and root != ts
        yield Span(match[1], root, f"{float(ts) + 1e-6:.6f}") if is_reply else Span(match[1], ts)


@dataclass(frozen=True, slots=True)
class PastMessages:
    """Reader of earlier messages. All methods that request something raise `PlatformError`."""

    api: SlackApi
    limits: RateLimits
    users: Users
    names: Names
    memberships: Memberships
    timing: Timing

    async def require_access(self, message: Message, channel: str) -> None:
        """Raise `ReadingRefused` unless a message's author is in a channel, and readers may know it."""
        if channel == message.thread.channel:
            return
        listed = await self.memberships.find(message, lambda each: each.id == channel)
        if listed is None:
            raise ReadingRefused(texts.NO_MEMBER)
        if not is_open(message, listed):
            raise ReadingRefused(texts.PRIVATE_CHANNEL)

    async def channel(self, team: str, channel: str, most: int) -> Found:
        """Return the newest messages of a channel, without those in threads."""
        answer = await self.call(team, "conversations.history", channel=channel, limit=most)
        return _sorted(answer.get("messages")), answer.get("has_more") is True

    async def thread(self, team: str, span: Span, most: int, after: str = "") -> Found:
        """Return a thread's root and the newest messages of the span, `most` in all; with `after` later ones.

        A thread of thousands takes two requests: the pace of the first page, and the number of replies that
        the root has, tell about when the last ones were written.
        """
        begin = {"oldest": after} if after else {}
        end = float(span.ts or time.time())
        limit = _TAIL if after else most + 1  # the root does not tell how many replies come after one
        head, has_more = await self._page(team, span, limit, latest=f"{end:.6f}", **begin)
        if not has_more or not head:
            return _newest(head, most)
        begun, known_until = moment(after or head[0].get("ts")), moment(head[-1].get("ts"))
        count = head[0].get("reply_count")
        left: float = count - len(head) if isinstance(count, int) else most
        if after and known_until > begun:  # replies up to it are no longer left
            left = min(left, len(head) * (end - known_until) / (known_until - begun))
        left = max(left, 1)
        # a guess, if it went on like this; often nothing was written for a while before the end
        ended = known_until + (known_until - begun) * max(left - 2 * most, 0) / len(head)
        found: list[Mapping[str, Json]] = []
        for page in range(1, _MOST_PAGES):
            start = max(known_until, min(end - (end - known_until) * 2 * most / left, ended))
            is_last = page == _MOST_PAGES - 1 and not found
            start = known_until if is_last else start  # something is there
            tail, has_more = await self._page(team, span, _TAIL, oldest=f"{start:.6f}", latest=f"{end:.6f}")
            tail = [each for each in tail if moment(each.get("ts")) > start]
            left = max(left - len(tail), 1) if tail else 4 * most  # nothing there: half way to the end
            if has_more and tail and not is_last:  # more than expected: the newest are after these
                known_until, ended, head = moment(tail[-1].get("ts")), end, [head[0], *tail]
                continue
            found, end = [*tail, *found], start
            if len(found) >= most or start <= known_until:
                break
        if end <= known_until and not has_more:
            return _newest([*head, *found], most)
        return _newest([head[0], *found], max(most, 2))[0], True

    async def _page(self, team: str, span: Span, limit: int, **window: str) -> Found:
        answer = await self.call(
            team, "conversations.replies", channel=span.channel, ts=span.root, limit=limit, **window
        )
        return _sorted(answer.get("messages")), answer.get("has_more") is True

    async def call(self, team: str, method: str, **arguments: str | int) -> Mapping[str, Json]:
        """Call a method that reads, within the rate limits."""
        await self.limits.wait(team, method, most=self.timing.longest_rate_limit)
        return await self.api.read(method, **arguments)

    async def link(self, channel: str, ts: str) -> str:
        """Return the address of a message in a channel; nothing if the workspace's is not known."""
        return _link((await self.api.who()).url, channel, ts, "")

    async def passage(
        self, source: str, message: Message, channel: str, found: Found, after: str = ""
    ) -> Passage:
        """Return messages that are read for a message, as a passage.

        Without the bot's own, if the agent knows what was before `after`.
        """
        who, team = await self.api.who(), message.thread.space
        written = [each for each in found[0] if is_written(each)]
        if after:
            begin = moment(after)
            written = [each for each in written if moment(each["ts"]) > begin and not _is_own(each, who)]
        authors = [(written_name(each), word(each.get("user"))) for each in written]
        asked = [user for name, user in authors if not name]
        names = await self.users.names(team, asked, most=_MOST_AUTHORS)
        past = [
            _past(each, user, name or names.get(user, ""), team, channel, who)
            for each, (name, user) in zip(written, authors, strict=True)
        ]
        return Passage(source=source, messages=await self.named(message, past), is_cut=found[1])

    async def named(self, message: Message, past: Sequence[PastMessage]) -> tuple[PastMessage, ...]:
        """Return messages that are read for one with names in place of ids."""
        texts = await self.names.readable(message, [each.text for each in past])
        return tuple(
            [
                each if text == each.text else replace(each, text=text)
                for each, text in zip(past, texts, strict=True)
            ]
        )


def _sorted(messages: Json) -> list[Mapping[str, Json]]:
    timed = [(at, each) for each in objects(messages) if (at := moment(each.get("ts")))]
    return [each for _, each in sorted(timed, key=itemgetter(0))]


def _newest(messages: Sequence[Mapping[str, Json]], most: int) -> Found:
    """Return the first message and the newest, `most` in all."""
    if len(messages) <= most:
        return list(messages), False
    return [messages[0], *messages[len(messages) - most + 1 :]], True


def _is_own(message: Mapping[str, Json], who: Identity) -> bool:
    return who.user_id == message.get("user") or who.bot_id == message.get("bot_id")


def _past(
    message: Mapping[str, Json], user: str, name: str, team: str, channel: str, who: Identity
) -> PastMessage:
    content, ts, root = content_of(message, who.user_id), str(message["ts"]), word(message.get("thread_ts"))
    text, bot = content.text, message.get("bot_id")
    is_own = user == who.user_id or bot == who.bot_id
    if content.quotes:
        text = "\n".join(filter(None, [text, *(f"{each.source}: {each.text}" for each in content.quotes)]))
    return PastMessage(
        id=message_id(team, channel, ts),
        author="you" if is_own else name_of_other(name, f"slack:{user or bot}"),
        text=text,
        sent_at=float(ts),
        files=tuple([each.name for each in content.files]) if content.files else (),
        link=_link(who.url, channel, ts, root),
    )


def _link(workspace: str, channel: str, ts: str, root: str) -> str:
    """Return the address of a message, as *Copy link* gives it; nothing if the workspace's is not known."""
    if not workspace.startswith("https://"):
        return ""
    thread = f"?thread_ts={root}&cid={channel}" if root not in ("", ts) else ""
    return f"{workspace}archives/{channel}/p{ts.replace('.', '')}{thread}"
