"""Parsers for untrusted files, run by `confinement.py` in a sandbox; `documents.py` has more of them.

The file arrives on standard input; the answer on standard output is a line of JSON, then the bytes of a
picture. This module imports nothing of the bot.
"""

import contextlib
import importlib
import io
import json
import pkgutil
import runpy
import sys
from pathlib import Path
from typing import Any

MOST_PAGES = 100
MOST_PIXELS = 50_000_000
SIDE = 1_568
"""Pixels on the longer side: models use no more of a picture."""

_QUALITY = 88
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
_PACKAGES = {"pdf": "pypdf", "text": "chardet"}
_ENCODINGS = (
    *("gb18030", "big5hkscs", "cp932", "euc_jis_2004", "cp949", "koi8-r", "koi8-u", "cp866", "cp874"),
    *(f"cp{number}" for number in range(1250, 1259)),
)
"""Encodings that are still in use for text files."""

_USUAL = "Windows-1252"
_CLEARLY = 2.0, 0.05
"""Factor and least probability by which another encoding must beat the usual one: a few Western European
accents fit many encodings a little."""

_DOCUMENTS = ("docx", "xlsx", "pptx", "html")
_documents: dict[str, Any] = {}
"""Names in `documents.py`; `prepare` loads them from the file, because there is no package in the sandbox."""

Answer = tuple[dict[str, Any], bytes]


def prepare(kind: str, _: str) -> None:
    """Import everything that the parser needs: after this no file can be opened."""
    if kind in _DOCUMENTS:
        _documents.update(runpy.run_path(str(Path(__file__).with_name("documents.py"))))
        _documents["prepare"](kind)
        return
    if kind == "picture":
        importlib.import_module("PIL.ImageOps")
        from PIL import Image

        Image.init()  # loads the plug-ins of all formats
        return
    import encodings

    for package in (encodings, importlib.import_module(_PACKAGES[kind])):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            with contextlib.suppress(ImportError):  # of another system, or for an extra that is not installed
                importlib.import_module(module.name)
    if kind == "text":
        import chardet

        chardet.detect("Wärme".encode("latin-1"))  # loads its tables
    else:
        import logging

        logging.disable()  # pypdf logs the faults of each file, and nobody reads them here


def run(kind: str, limit: str) -> None:
    """Parse one file from standard input, up to `limit` characters."""
    content = sys.stdin.buffer.read()
    try:
        told, rest = _parse(kind, content, int(limit))
    except MemoryError:
        told, rest = {"problem": "opening it takes too much memory"}, b""
    except Exception:  # noqa: BLE001 - the parsers document no common error; the user reads a sentence
        told, rest = {"problem": "it is damaged, or not what its name says"}, b""
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + rest)
    sys.stdout.buffer.flush()


def _parse(kind: str, content: bytes, most_chars: int) -> Answer:
    if kind not in _DOCUMENTS:
        return {"pdf": _pdf, "picture": _picture, "text": _text}[kind](content, most_chars)
    try:
        return _documents["parse"](kind, content, most_chars), b""
    except _documents["Unreadable"] as error:
        return {"problem": str(error)}, b""


def _pdf(content: bytes, most_chars: int) -> Answer:
    """Return the text of the first pages, up to one character more than `most_chars`."""
    from pypdf import PdfReader
    from pypdf.errors import FileNotDecryptedError

    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        return {"problem": "it is protected by a password"}, b""
    try:
        count = len(reader.pages)
        texts: list[str] = []
        for page in reader.pages[:MOST_PAGES]:
            texts.append(page.extract_text())
            if sum(map(len, texts)) > most_chars:
                break
    except FileNotDecryptedError:
        return {"problem": "it is protected by a password"}, b""
    text = "\n\n".join(texts).strip()
    if not text:
        return {
            "problem": "it contains no text, perhaps because it is a scan; send a picture of the page instead"
        }, b""
    return {"text": text[: most_chars + 1], "pages": count, "read": len(texts)}, b""


def _picture(content: bytes, _: int) -> Answer:
    """Return the picture as JPEG: upright, at most `SIDE` pixels long, without metadata."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # it would raise before we can say why
    picture = Image.open(io.BytesIO(content), formats=_FORMATS)
    width, height = picture.size
    if width * height > MOST_PIXELS:
        return {"problem": f"it has {width} by {height} pixels, which is too many"}, b""
    picture.draft("RGB", (SIDE, SIDE))
    upright = ImageOps.exif_transpose(picture)
    upright.thumbnail((SIDE, SIDE))
    layers = upright.convert("RGBA")
    card = Image.new("RGB", layers.size, "white")
    card.paste(layers, mask=layers.getchannel("A"))
    written = io.BytesIO()
    card.save(written, "JPEG", quality=_QUALITY)
    return {"width": width, "height": height}, written.getvalue()


def _text(content: bytes, most_chars: int) -> Answer:
    """Return the text in its most likely encoding, and the encoding's name."""
    import chardet

    found = chardet.detect_all(content, ignore_threshold=True, include_encodings=_ENCODINGS)
    likely = {str(each["encoding"]): each["confidence"] for each in found if each["encoding"]}
    best = max(likely, key=lambda name: likely[name], default=_USUAL)
    times, least = _CLEARLY
    if likely.get(best, 0.0) < max(times * likely.get(_USUAL, 0.0), least):
        best = _USUAL
    text = content.decode(best, "replace")
    return {"text": text[: most_chars + 1], "chars": len(text), "encoding": best}, b""
