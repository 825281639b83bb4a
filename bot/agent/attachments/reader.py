"""Conversion of a message's attachments to text and pictures for the model."""

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bot.agent.attachments import texts
from bot.agent.attachments.file_types import Kind, decode, is_recording, kind_of, text_kind, unix_lines
from bot.agent.attachments.sandbox import Sandbox
from bot.agent.spotlighting import mark
from bot.chat import Attachment, AttachmentContent, File, FileRefused, Files, FileSource, Message
from bot.chat.text import count, one_line
from bot.chat.texts import file_too_large

log = logging.getLogger(__name__)

_NAME_CHARS = 100

_PICTURE = "[Picture {name}, {width} by {height} pixels]"
_DOCUMENTS: Mapping[Kind, str] = {
    "docx": "DOCX",
    "xlsx": "XLSX",
    "pptx": "PPTX",
    "html": "HTML as text; send it as .txt to have its source read",
}
_REFUSED: Mapping[Kind, str] = {
    "protected document": texts.PROTECTED,
    "old document": texts.OLD_DOCUMENT,
    "other": texts.UNKNOWN_KIND,
}
_CUT = "\n[cut here: these are the first {most:,} characters{of}]"


@dataclass(frozen=True, slots=True)
class AttachmentLimits:
    """Limits for attachments: `size` in bytes per file, `count` per message, `chars` of text per file."""

    size: int = 10 << 20
    count: int = 5
    chars: int = 20_000


class AttachmentReader:
    """Reader of attachments; pictures are stored in `files` if the model supports vision."""

    def __init__(
        self,
        source: FileSource,
        files: Files,
        limits: AttachmentLimits,
        *,
        sees_pictures: bool,
        sandbox: Sandbox | None = None,
    ) -> None:
        self._source = source
        self._files = files
        self._limits = limits
        self._sees_pictures = sees_pictures
        self._sandbox = sandbox or Sandbox()

    async def read(self, message: Message) -> AttachmentContent:
        """Return the content of a message's attachments; a file that cannot be read becomes a sentence."""
        contents: list[str] = []
        pictures: list[File] = []
        problems: list[str] = []
        for attachment in message.attachments[: self._limits.count]:
            name = plain_name(attachment.name)
            try:
                text, picture = await self._open(message, attachment, name)
            except FileRefused as error:
                log.info("file not read", extra={"media_type": attachment.media_type, "reason": str(error)})
                problems.append(texts.not_read(name, str(error)))
                contents.append(f"[File {name} could not be read: {error}]")
                continue
            contents.append(text)
            pictures += [picture] if picture else []
        if left := message.attachments[self._limits.count :]:
            names = ", ".join(plain_name(each.name) for each in left)
            problems.append(texts.too_many(self._limits.count, names))
        return AttachmentContent(
            text="\n\n".join(contents), pictures=tuple(pictures), problems=tuple(problems)
        )

    async def _open(self, message: Message, attachment: Attachment, name: str) -> tuple[str, File | None]:
        if is_recording(message, attachment):  # `RecordingReader` takes it out if there is one
            raise FileRefused(texts.NO_HEARING)
        if attachment.size > self._limits.size:
            raise FileRefused(file_too_large(self._limits.size))
        content = await self._source.fetch(message, attachment, self._limits.size)
        if not content:
            raise FileRefused(texts.EMPTY)
        kind = await asyncio.to_thread(kind_of, content)
        if kind == "html" and name.lower().endswith(".txt"):
            plain = await asyncio.to_thread(text_kind, content)
            kind = plain or kind
        if reason := _REFUSED.get(kind):
            raise FileRefused(reason)
        if kind == "picture":
            return await self._picture(content, name)
        if kind == "text":
            return await self._text(content, name), None
        if kind == "unknown text":
            return await self._unknown_text(content, name), None
        if kind == "pdf":
            return await self._pdf(content, name), None
        return await self._document(kind, content, name), None

    async def _text(self, content: bytes, name: str) -> str:
        text = await asyncio.to_thread(decode, content, self._limits.chars + 1)
        if text is None:  # it changes its encoding after its beginning
            return await self._unknown_text(content, name)
        return self._as_data(name, f"{len(content):,} bytes", text, "")

    async def _unknown_text(self, content: bytes, name: str) -> str:
        told, _ = await self._sandbox.parse("text", content, self._limits.chars)
        about = f"{len(content):,} bytes, read as {told['encoding']}, which is a guess"
        return self._as_data(name, about, unix_lines(str(told["text"])), f" of {told['chars']:,}")

    async def _pdf(self, content: bytes, name: str) -> str:
        told, _ = await self._sandbox.parse("pdf", content, self._limits.chars)
        pages = int(told["pages"])
        about = f"PDF, {pages} page{'' if pages == 1 else 's'}"
        if told["read"] < pages:
            about += f", of which these are the first {told['read']}"
        return self._as_data(name, about, str(told["text"]), "")

    async def _document(self, kind: Kind, content: bytes, name: str) -> str:
        told, _ = await self._sandbox.parse(kind, content, self._limits.chars)
        about = [_DOCUMENTS[kind]]
        about += [count(int(told[f"{part}s"]), part) for part in ("sheet", "slide") if f"{part}s" in told]
        about += ["without its macros"] if told["macros"] else []
        return self._as_data(name, ", ".join(about), str(told["text"]), "")

    async def _picture(self, content: bytes, name: str) -> tuple[str, File | None]:
        if not self._sees_pictures:
            raise FileRefused(texts.NO_VISION)
        told, picture = await self._sandbox.parse("picture", content, 0)
        file = await self._files.keep(f"{name}.jpg", "image/jpeg", picture)
        return _PICTURE.format(name=name, width=told["width"], height=told["height"]), file

    def _as_data(self, name: str, about: str, text: str, of: str) -> str:
        most = self._limits.chars
        content = text if len(text) <= most else text[:most] + _CUT.format(most=most, of=of)
        content = content.replace("\0", "\ufffd").encode(errors="replace").decode()  # no half of a pair
        return mark(f"the file {name} ({about})", content)


def plain_name(name: str) -> str:
    """Return a file's name on one line and without brackets, which the bot's own lines use."""
    plain = one_line(re.sub(r"[\[\]<>`*_|\\]", " ", name))
    return plain[:_NAME_CHARS] or texts.NO_NAME
