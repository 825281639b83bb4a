"""Messages of users as the thread memory holds them: text, quotes, context, content of files. Pure."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from langchain_core.messages import AnyMessage, HumanMessage

from bot.agent import prompts
from bot.agent.authors import author_fields
from bot.agent.images import PICTURES
from bot.agent.spotlighting import indent, label, mark
from bot.chat import (
    AttachmentContent,
    Context,
    Message,
    Notice,
    Part,
    Passage,
    PastMessage,
    Since,
    Turn,
    well_formed,
)
from bot.chat.text import count, shorten

_PROBLEMS = "file_problems"
_QUOTED = "quoted"
"""Key of a message's `additional_kwargs` with the range of its text that quotes others."""

_UNREAD = "context_unread"
"""Key of a message's `additional_kwargs`: whether its thread could not be read, or the refusal that lasts.

It is missing if the thread did not have to be read.
"""

_UNREAD_SINCE = "context_unread_since"
"""Key beside it: the time of the earliest message that could not be read (Unix seconds), if it is known."""

_SUMMARISED = "summarised"
"""Key of the first message behind a summary: digests of the ids of the newest messages of users in it."""

_MOST_SUMMARISED, _DIGEST = 50, 8
"""Most of these digests, and the hexadecimal digits of each: every step of a turn stores them."""

_DAY = 86_399
"""Largest difference of a time zone, in seconds."""

_LONGEST_PAST = 2_000
"""Most characters of one earlier message."""


def human_message(message: Message, attachments: AttachmentContent) -> HumanMessage:
    """Return a message with the content of its files; the problems of unreadable ones are stored with it."""
    more: dict[str, object] = {**author_fields(message)}
    if attachments.pictures:
        more[PICTURES] = [picture.id for picture in attachments.pictures]
    if attachments.problems:
        more[_PROBLEMS] = list(attachments.problems)
    quotes = "\n\n".join(mark(each.source, each.text) for each in message.quotes)
    text = message.text.strip() or ("" if quotes or attachments.text else prompts.NO_TEXT)
    text = prompts.CORRECTION.format(text=text) if message.corrects else text
    content = "\n\n".join(filter(None, [text, quotes, attachments.text]))
    if quotes:
        more[_QUOTED] = [len(text), len(content) - len(attachments.text)]
    return HumanMessage(content, id=stored_id(message), additional_kwargs=more)


def with_context(message: AnyMessage, context: Context, chars: int, since: Since | None) -> AnyMessage:
    """Return a message with its context as data, in at most about `chars` characters, and with the problems.

    The context comes right after the author's words, and counts as a quote. It is that of the thread `since`
    then, or of the message's links only.
    """
    more = dict(message.additional_kwargs)
    if context.problems:
        more |= {_PROBLEMS: [*more.get(_PROBLEMS, ()), *context.problems]}
    if since is not None:
        is_unread = context.refusal or context.is_unread
        more |= _unread(since) | {_UNREAD: is_unread} if is_unread else {_UNREAD: False}
    share = chars // max(len(context.passages), 1)
    marked = [mark(each.source, _passage(each, share)) for each in context.passages if each.messages]
    content = str(message.text)
    if marked:
        begin, end = more.get(_QUOTED, (len(content), len(content)))
        added = well_formed("\n\n".join(["", *marked]))
        content = content[:begin] + added + content[begin:]
        more[_QUOTED] = [begin, end + len(added)]
    return message.model_copy(update={"content": content, "additional_kwargs": more})


def with_thread_unread(message: AnyMessage, since: Since) -> AnyMessage:
    """Return a message as one whose thread could not be read, unless that was tried."""
    more = _unread(since) | message.additional_kwargs
    return message.model_copy(update={"additional_kwargs": more})


def _unread(since: Since) -> dict[str, object]:
    return {_UNREAD: True, _UNREAD_SINCE: since.at}


def last_read(messages: Sequence[AnyMessage]) -> str:
    """Return the id of the last message whose thread was read, so that nothing is missing before it."""
    read = (each.id or "" for each in reversed(messages) if each.additional_kwargs.get(_UNREAD) is False)
    return next(read, "")


def unread_since(messages: Sequence[AnyMessage]) -> float | None:
    """Return the time from which on a thread has to be read, 0 for its begin; None if nothing is unread."""
    unread: list[float] = []
    for each in messages:
        if mark := each.additional_kwargs.get(_UNREAD):
            unread.append(each.additional_kwargs.get(_UNREAD_SINCE, 0.0))
        elif mark is False:
            unread.clear()
    return min(unread, default=None if messages else 0.0)


def with_summarised(message: AnyMessage, older: Sequence[AnyMessage]) -> AnyMessage:
    """Return the first message behind a summary, which remembers those that the summary stands for."""
    before = "".join(each.additional_kwargs.get(_SUMMARISED, "") for each in older)
    added = "".join(_digest(each.id or "") for each in older if each.type == "human")
    more = message.additional_kwargs | {_SUMMARISED: (before + added)[-_MOST_SUMMARISED * _DIGEST :]}
    return message.model_copy(update={"additional_kwargs": more})


def ids_summarised(ids: Iterable[str], messages: Sequence[AnyMessage]) -> set[str]:
    """Return those of the ids that are of messages which the summary before `messages` stands for."""
    kept = "".join(each.additional_kwargs.get(_SUMMARISED, "") for each in messages)
    digests = {kept[at : at + _DIGEST] for at in range(0, len(kept), _DIGEST)}
    return {each for each in ids if _digest(each) in digests} if digests else set()


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()[:_DIGEST]


def without_summarised(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the messages that remember others so, as they were before."""
    changed = [each.model_copy(deep=True) for each in messages if _SUMMARISED in each.additional_kwargs]
    for each in changed:
        del each.additional_kwargs[_SUMMARISED]
    return changed


def refusals_of(messages: Sequence[AnyMessage]) -> set[str]:
    """Return the refusals to read their thread that these messages have met."""
    marks = (message.additional_kwargs.get(_UNREAD) for message in messages)
    return {each for each in marks if isinstance(each, str)}


def _passage(passage: Passage, chars: int) -> str:
    """Return earlier messages as text: the first one, which names the topic, and the last that fit."""
    most = min(_LONGEST_PAST, chars // 4)
    first, *rest = [_past(each, most) for each in passage.messages]
    left = chars - len(first)
    kept: list[str] = []
    for each in reversed(rest):
        left -= len(each)
        if left < 0:
            break
        kept.append(each)
    omitted = len(rest) - len(kept)
    if passage.is_cut:
        gap = [prompts.PAST_CUT]
    else:
        gap = [prompts.PAST_OMITTED.format(messages=count(omitted, "message"))] if omitted else []
    return "\n".join([first, *gap, *reversed(kept)])


def _past(message: PastMessage, chars: int) -> str:
    """Return an earlier message with its time and author; following lines are indented, as in `authors`."""
    at = datetime.fromtimestamp(message.sent_at, UTC)
    text = shorten(message.text.strip(), chars)
    if message.files:
        text = "\n".join(filter(None, [text, *(f"[attached: {label(name)}]" for name in message.files)]))
    return f"[{at:%Y-%m-%d %H:%M} UTC] {_author_label(message.author)}: {indent(text)}"


_author_label = lru_cache(200)(label)  # few users write the many messages of a conversation


def own_text(message: AnyMessage) -> str:
    """Return a user's message without the text of others that it quotes."""
    begin, end = message.additional_kwargs.get(_QUOTED, (len(message.text), len(message.text)))
    return "\n\n".join(filter(None, [message.text[:begin], message.text[end:]]))


def asker_description(turn: Turn) -> str:
    """Return the local time and the locale of the user who asks, for the model; nothing if not known.

    The time is that of their message, so that it is the same in each request of the turn.
    """
    newest = turn.messages[-1] if turn.messages else None
    if newest is None or newest.locale is None:
        return ""
    locale = newest.locale
    language = label(locale.language) or "unknown"
    if not locale.time_zone:
        return prompts.ASKER_WITHOUT_TIME.format(locale=language)
    zone = timezone(timedelta(seconds=max(-_DAY, min(locale.utc_offset, _DAY))))
    at = datetime.fromtimestamp(newest.sent_at, zone)
    return prompts.ASKER.format(time=f"{at:%A %Y-%m-%d %H:%M}", zone=label(locale.time_zone), locale=language)


def problems_of(messages: Sequence[AnyMessage]) -> list[Part]:
    """Return the sentences about files and earlier messages that could not be read."""
    return [Notice(words) for message in messages for words in message.additional_kwargs.get(_PROBLEMS, ())]


def stored_id(message: Message) -> str:
    """Return a message's id in the thread memory; a replayed message gets a new one."""
    return f"{message.id}:{message.replays}" if message.replays else message.id


def file_names(message: Message) -> AttachmentContent:
    """Return the names of a message's files, for an agent without a reader."""
    names = [
        f"[attached file: {each.name}, {each.media_type}, {each.size} bytes]" for each in message.attachments
    ]
    return AttachmentContent(text="\n".join(names))
