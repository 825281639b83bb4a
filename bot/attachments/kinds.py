"""What a file is, by what it holds: a name and a type that somebody gave prove nothing. Pure."""

import codecs
from typing import Literal

Kind = Literal["text", "pdf", "picture", "other"]

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY_SHARE = 0.02
_SAMPLE = 8_192


def kind_of(content: bytes) -> Kind:
    """What it holds."""
    if content.startswith(b"%PDF-"):
        return "pdf"
    if content.startswith(_PICTURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        return "picture"
    return "text" if decoded(content) is not None else "other"


def decoded(content: bytes) -> str | None:
    """The text of a file; None when it holds none. Line ends become those of Unix."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _lines(content, encoding)
    if b"\0" in content[:_SAMPLE]:
        return None
    text = _lines(content, "utf-8")
    if text is None and _looks_like_text(content):
        text = _lines(content, "cp1252") or _lines(content, "latin-1")
    return text if text is not None and _looks_like_text(content) else None


def _lines(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        return None


def _looks_like_text(content: bytes) -> bool:
    sample = content[:_SAMPLE]
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in sample)
    return controls <= len(sample) * _BINARY_SHARE
