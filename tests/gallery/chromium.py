"""Pictures of pages by headless Chromium, if there is one."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_WIDTH, _HEIGHT = 640, 1800
_COLOURS = 128
"""Colours of a picture: these keep it small."""


def find_chromium() -> str | None:
    """Return the program, or None."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


async def take_picture(program: str, page: str, target: Path) -> None:
    """Draw a page into a PNG file as high as its content."""
    with tempfile.TemporaryDirectory() as folder:
        source, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
        source.write_text(page)
        process = await asyncio.create_subprocess_exec(
            *(program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--window-size={_WIDTH},{_HEIGHT}", f"--user-data-dir={folder}/profile"),
            *(f"--screenshot={shot}", source.as_uri()),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(60):
            await process.wait()
        _crop(shot, target)


def _crop(shot: Path, target: Path) -> None:
    """Cut off the empty rest below, and reduce the colours."""
    with Image.open(shot) as opened:
        whole = opened.convert("RGB")
    empty = Image.new("RGB", whole.size, whole.getpixel((1, whole.height - 1)))
    box = ImageChops.difference(whole, empty).getbbox() or (0, 0, _WIDTH, 40)
    cut = whole.crop((0, 0, whole.width, min(box[3] + 14, whole.height)))
    cut.quantize(_COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
