"""Content of a message: its author's text, quotes of messages that it forwards, and the files of both. Pure.

Users write into `text`. Bots write into blocks, or into attachments of the older kind; their `text` is what a
notification shows. Forwarded messages (`is_share`) and linked messages (`is_msg_unfurl`) are attachments,
too: they become quotes. Previews of links are also attachments: they are left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from bot.chat import Attachment, Json, Quote
from bot.chat.text import one_line
from bot.slack.block_text import BlockText, mentions, mentions_others, objects, plain_text, word

FILE_ID = "slack-file:"
"""Prefix of the address of a file that the event only names; `files.info` describes it."""

_MOST_CHARS = 40_000
"""Most characters that are read of a message: as many as Slack takes in one text."""

_CUT = "\n[The rest of this message is left out: it is too long.]"
_NOTHING = "[Its text cannot be read here: the channel that it is from may be private.]"
_LABEL_CHARS = 100
_CLIPS = frozenset({"slack_audio", "slack_video"})


@dataclass(frozen=True, slots=True)
class Content:
    """Text and files of a message; `text` is only what its author wrote.

    `voices` are the addresses of the files that its author has recorded in Slack.
    """

    text: str
    quotes: tuple[Quote, ...]
    files: tuple[Attachment, ...]
    voices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mentions:
    """Users whom a message mentions: its author the bot (`of_bot`), or somebody else (`of_others`).

    `by_others`: a quote or a preview mentions the bot.
    """

    of_bot: bool
    of_others: bool
    by_others: bool


def content_of(message: Mapping[str, Json], bot_user_id: str) -> Content:
    """Read a message; fields that are missing or have an unexpected type are skipped."""
    return _reader(bot_user_id).content(message)


def mentions_of(message: Mapping[str, Json], bot_user_id: str) -> Mentions:
    """Read whom a message mentions."""
    attachments = list(objects(message.get("attachments")))
    quoted = [each for each in attachments if _is_message(each) or _is_preview(each)]
    own = [each for each in attachments if not (_is_message(each) or _is_preview(each))]
    return Mentions(
        of_bot=_is_mentioned([message.get("text"), message.get("blocks"), own], bot_user_id),
        of_others=mentions_others(word(message.get("text")), bot_user_id),
        by_others=_is_mentioned(quoted, bot_user_id),
    )


class _Reader:
    def __init__(self, bot_user_id: str) -> None:
        self._bot_user_id = bot_user_id
        self._blocks = BlockText(bot_user_id)

    def content(self, message: Mapping[str, Json]) -> Content:
        attachments, files = message.get("attachments"), message.get("files")
        if not (attachments or files):  # as most messages: hundreds are read for one answer
            return Content(_cut(self._own(message), _MOST_CHARS), (), (), ())
        listed = list(objects(attachments))
        quoted = [each for each in listed if _is_message(each)]
        own = [each for each in listed if not _is_message(each) and not _is_preview(each)]
        text = self._own(message)
        if own:
            text = "\n\n".join(filter(None, [text, *map(self._attachment, own)]))
        text = _cut(text, _MOST_CHARS)
        holders = [each for each in (message, *own, *quoted) if each.get("files")]
        return Content(
            text=text,
            quotes=tuple(_limit(map(self._quote, quoted), _MOST_CHARS - len(text))),
            files=tuple([file for each in holders for file in _files(each["files"])]),
            voices=tuple(_voices(files, word(message.get("user")))),
        )

    def _own(self, message: Mapping[str, Json]) -> str:
        text = plain_text(message.get("text"), self._bot_user_id)
        if message.get("bot_id"):  # users see the blocks instead
            return self._blocks.read(message.get("blocks")) or text
        return text or self._blocks.read(message.get("blocks"))

    def _attachment(self, attachment: Mapping[str, Json]) -> str:
        """Read an attachment from a bot, such as an alert, or a table that a user has pasted."""
        texts = [self._text(attachment, name) for name in ("pretext", "author_name", "title", "text")]
        texts += [self._field(each) for each in objects(attachment.get("fields"))]
        texts += [self._blocks.read(attachment.get("blocks")), self._text(attachment, "footer")]
        said = "\n".join(filter(None, texts))
        return said or self._text(attachment, "fallback")

    def _field(self, field: Mapping[str, Json]) -> str:
        return ": ".join(filter(None, (self._text(field, "title"), self._text(field, "value"))))

    def _quote(self, attachment: Mapping[str, Json]) -> Quote:
        """Read a forwarded or linked message: author, place, text and names of files."""
        blocks = [
            self._blocks.read(inner.get("blocks"))
            for each in objects(attachment.get("message_blocks"))
            if isinstance(inner := each.get("message"), dict)
        ]
        files = [f"[attached: {file.name}]" for file in _files(attachment.get("files"))]
        said = self._text(attachment, "text") or "\n".join(filter(None, blocks))
        said = said or self._text(attachment, "fallback")
        kind = "forwarded" if attachment.get("is_share") else "linked"
        return Quote(
            source=f"the message by {_author(attachment)} that is {kind} here",
            text="\n".join(filter(None, [said, *files])) or _NOTHING,
        )

    def _text(self, holder: Mapping[str, Json], name: str) -> str:
        return plain_text(holder.get(name), self._bot_user_id)


_reader = lru_cache(8)(_Reader)


def _is_mentioned(content: Json, bot_user_id: str) -> bool:
    """Return whether a text or a block mentions the bot; blocks may be nested to any depth."""
    open_nodes = [content]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, str):
            if mentions(node, bot_user_id):
                return True
        elif isinstance(node, list):
            open_nodes += node
        elif isinstance(node, dict):
            if node.get("type") == "user" and node.get("user_id") == bot_user_id:
                return True
            open_nodes += node.values()
    return False


def _is_message(attachment: Mapping[str, Json]) -> bool:
    return bool(attachment.get("is_share") or attachment.get("is_msg_unfurl"))


def _is_preview(attachment: Mapping[str, Json]) -> bool:
    return any(attachment.get(name) for name in ("from_url", "original_url", "app_unfurl_url"))


def _author(attachment: Mapping[str, Json]) -> str:
    """Return the author's name and Slack's description of the place, on one line."""
    names = (word(attachment.get(name)) for name in ("author_name", "author_subname"))
    author, place = next(filter(None, names), "somebody"), word(attachment.get("footer"))
    return one_line(f"{author} ({place})" if place else author)[:_LABEL_CHARS]


def _limit(quotes: Iterable[Quote], most: int) -> Iterator[Quote]:
    """Yield quotes with at most `most` characters in total; cut the first that does not fit, and stop."""
    for quote in quotes:
        left, most = max(most, 0), most - len(quote.source) - len(quote.text)
        yield replace(quote, text=_cut(quote.text, left))
        if most < 0:
            return


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + _CUT


def _files(files: Json) -> Iterator[Attachment]:
    for file in objects(files):
        address, id, size = address_of(file), word(file.get("id")), file.get("size")
        if address:
            yield Attachment(
                name=word(file.get("name")) or word(file.get("title")) or f"file {id}".strip(),
                media_type=word(file.get("mimetype")) or "application/octet-stream",
                size=size if isinstance(size, int) and size > 0 else 0,
                url=address,
            )


def _voices(files: Json, author: str) -> Iterator[str]:
    """Yield the addresses of the clips that the author has recorded in Slack.

    A clip of somebody else, which the author shares, is a file like any other, and so is a film from
    elsewhere. https://docs.slack.dev/reference/objects/file-object
    """
    for file in objects(files):
        if file.get("subtype") in _CLIPS and word(file.get("user")) in ("", author):
            yield address_of(file)


def address_of(file: Mapping[str, Json]) -> str:
    """Return the address of a file: `FILE_ID` and its id if Slack gives none, nothing if it was deleted."""
    if file.get("mode") == "tombstone":
        return ""
    id = word(file.get("id"))
    addresses = (word(file.get(name)) for name in ("url_private_download", "url_private", "external_url"))
    return next(filter(None, addresses), FILE_ID + id if id else "")
