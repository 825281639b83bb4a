"""Detection of file types by content, since names and media types prove nothing. Pure."""

import codecs
import io
import re
from typing import Literal

Kind = Literal["text", "unknown text", "pdf", "picture", "other"]
"""`unknown text` is text in an encoding that must be guessed."""

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_LETTERS = (b"GIF87a", b"GIF89a", b"BM")
"""Beginnings of pictures that a text may share; a picture also holds bytes that no text does."""

_PDF = re.compile(rb"%PDF-\d\.\d")
_PDF_BEGINS = 1_024
"""The header may stand anywhere within this many bytes (ISO 32000-1, annex H.3.4.1)."""

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
_PIECE = 1 << 16


def kind_of(content: bytes) -> Kind:
    """Return the kind of a file."""
    if content.startswith(_PICTURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        return "picture"
    if _is_pdf(content):
        return "pdf"
    if decode(content, 0) is not None:
        return "text"
    if _looks_like_text(content):
        return "unknown text"
    return "picture" if content.startswith(_LETTERS) else "other"


def decode(content: bytes, most_chars: int) -> tuple[str, int] | None:
    """Return the first characters of a file in UTF-8 or in the encoding of its byte order mark, else None.

    The number is that of all its characters. Line ends become those of Unix.
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


def _decode(content: bytes, encoding: str, most_chars: int) -> tuple[str, int] | None:
    """Decode piece by piece: a single call would not release the interpreter lock before its end."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding)
    try:
        first = text.read(most_chars)
        return first, len(first) + sum(map(len, iter(lambda: text.read(_PIECE), "")))
    except UnicodeError:
        return None


def _looks_like_text(content: bytes) -> bool:
    sample = content[:_SAMPLE]
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in sample)
    return b"\0" not in sample and controls <= len(sample) * _BINARY_SHARE
