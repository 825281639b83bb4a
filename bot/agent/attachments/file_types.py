"""Detection of file types, mostly by content, since names and media types prove nothing. Pure."""

import codecs
import io
import re
from typing import Literal

from bot.chat import Attachment, Message

Kind = Literal[
    "text",
    "unknown text",
    "html",
    "pdf",
    "docx",
    "xlsx",
    "pptx",
    "protected document",
    "old document",
    "picture",
    "other",
]
"""`unknown text` is text in an encoding that must be guessed. `protected document` is an Office document with
a password, `old document` one in the format before 2007."""

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_LETTERS = (b"GIF87a", b"GIF89a", b"BM")
"""Beginnings of pictures that a text may share; a picture also holds bytes that no text does."""

_PDF = re.compile(rb"%PDF-\d\.\d")
_PDF_BEGINS = 1_024
"""The header may stand anywhere within this many bytes (ISO 32000-1, annex H.3.4.1)."""

_OFFICE_KINDS: dict[bytes, Kind] = {b"word": "docx", b"xl": "xlsx", b"ppt": "pptx"}
_OFFICE_PART = re.compile(rb"PK\x01\x02.{42}(word|xl|ppt)/", re.DOTALL)
"""Entry of a ZIP archive's directory with its name (APPNOTE 4.3.12)."""

_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # MS-CFB 2.2
_PROTECTED = "EncryptedPackage".encode("utf-16-le")  # MS-OFFCRYPTO 2.3.4.4

_AUDIO_NAMES = (".ogg", ".oga", ".opus", ".mp3", ".m4a", ".wav", ".flac")
_AUDIO = {b"OggS": "ogg", b"fLaC": "flac", b"ID3": "mp3", b"\x1aE\xdf\xa3": "webm"}
_MPEG_AUDIO = frozenset({0xE2, 0xE3, 0xF2, 0xF3, 0xFA, 0xFB})
"""Second byte of a frame of MPEG audio, layer 3 (ISO 11172-3, 2.4.2.3)."""

# the possessive groups keep the time linear
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+(?:<\?xml[^>]*+>\s*+)?(?>(?:<!--.*?-->)\s*+)*+<(?:!doctype\s+html|html)[\s>]",
    re.DOTALL | re.IGNORECASE,
)

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # before UTF-16, because their marks begin with the same bytes
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY_SHARE = 0.02
_SAMPLE = 8_192
_KIND_CHARS = 100_000
"""Characters that decide whether a file is a text: a call that decodes 5 MiB keeps the interpreter lock."""


def kind_of(content: bytes) -> Kind:
    """Return the kind of a file."""
    if content.startswith(_PICTURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        return "picture"
    if _is_pdf(content):
        return "pdf"
    if document := _document_kind(content):
        return document
    if kind := text_kind(content):
        return "html" if _HTML.match(content, 0, _SAMPLE) else kind
    return "picture" if content.startswith(_LETTERS) else "other"


def is_recording(message: Message, attachment: Attachment) -> bool:
    """Return whether a file is a voice message or is said to be audio."""
    named = attachment.media_type.startswith("audio/") or attachment.name.lower().endswith(_AUDIO_NAMES)
    return named or attachment.url in message.voices


def audio_format(content: bytes) -> str | None:
    """Return the usual ending of a name for a recording, or None for another file."""
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        return "wav"
    if content[4:8] == b"ftyp":  # also of a film, whose sound services take
        return "m4a"
    if len(content) > 1 and content[0] == 0xFF and content[1] in _MPEG_AUDIO:
        return "mp3"
    return next((format for begin, format in _AUDIO.items() if content.startswith(begin)), None)


def text_kind(content: bytes) -> Literal["text", "unknown text"] | None:
    """Return the kind of a text, also of one with markup; None for a file that is not a text."""
    if decode(content, _KIND_CHARS) is not None:
        return "text"
    return "unknown text" if _looks_like_text(content) else None


def decode(content: bytes, most_chars: int) -> str | None:
    """Return the first characters of a file in UTF-8 or in the encoding of its byte order mark, else None.

    What follows them is not looked at. Line ends become those of Unix.
    """
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _decode(content, encoding, most_chars)
    return _decode(content, "utf-8", most_chars) if _looks_like_text(content) else None


def unix_lines(text: str) -> str:
    """Return the text with the line ends of Unix."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_pdf(content: bytes) -> bool:
    header = _PDF.search(content, 0, _PDF_BEGINS)
    if header is None:
        return False
    # a text about PDFs may contain the header, too
    return header.start() == 0 or b"%%EOF" in content[-_PDF_BEGINS:] or not _looks_like_text(content)


def _document_kind(content: bytes) -> Kind | None:
    if content.startswith(_COMPOUND_FILE):
        return "protected document" if _PROTECTED in content else "old document"
    if not content.startswith(b"PK\x03\x04"):
        return None
    parts = _OFFICE_PART.findall(content)
    return _OFFICE_KINDS[parts[-1]] if parts else None  # the last: documents in the document come before


def _decode(content: bytes, encoding: str, most_chars: int) -> str | None:
    text = io.TextIOWrapper(io.BytesIO(content), encoding)
    try:
        return text.read(most_chars)
    except UnicodeError:
        return None


def _looks_like_text(content: bytes) -> bool:
    sample = content[:_SAMPLE]
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in sample)
    return b"\0" not in sample and controls <= len(sample) * _BINARY_SHARE
