"""The program that opens PDFs and pictures of strangers, in a process that may take little and knows nothing.

Run as `python -I child.py pdf|picture LIMIT`: the file comes on standard input, the answer goes to standard
output as a line of JSON, followed by the bytes of a picture. It imports nothing of the bot.
"""

import io
import json
import sys
from typing import Any

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 15
MOST_PAGES = 100
MOST_PIXELS = 50_000_000
SIDE = 1_568
"""Pixels on the longer side: models look at no more of a picture."""

_QUALITY = 88
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")


def _limit() -> None:
    try:
        import resource
    except ImportError:  # not on Windows; the caller's time limit is left
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _read_pdf(content: bytes, most_chars: int) -> tuple[dict[str, Any], bytes]:
    """The text of the first pages, up to a little more than is wanted."""
    import logging

    from pypdf import PdfReader
    from pypdf.errors import FileNotDecryptedError

    logging.disable()  # it tells what is wrong with each file, and here nobody reads that
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
        return {"problem": "it holds no text, perhaps since it is a scan; send a picture of the page"}, b""
    return {"text": text[: most_chars + 1], "pages": count, "read": len(texts)}, b""


def _read_picture(content: bytes, _: int) -> tuple[dict[str, Any], bytes]:
    """The picture, upright and no larger than a model looks at, without what else the file told."""
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


def main() -> None:
    """Read one file."""
    _limit()
    what, limit = sys.argv[1], int(sys.argv[2])
    content = sys.stdin.buffer.read()
    try:
        told, rest = (_read_pdf if what == "pdf" else _read_picture)(content, limit)
    except MemoryError:
        told, rest = {"problem": "it takes too much memory to open"}, b""
    except Exception:  # noqa: BLE001 - whatever a broken file does to a parser: it cannot be read
        told, rest = {"problem": "it is damaged, or not what its name says"}, b""
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + rest)


if __name__ == "__main__":
    main()
