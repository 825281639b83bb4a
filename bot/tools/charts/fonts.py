"""Fonts and drawable texts: matplotlib draws a box, and warns, for a character that no font has.

matplotlib includes DejaVu Sans (Latin, Greek, Cyrillic, Arabic, Hebrew). With one of the fonts below,
Chinese, Japanese and Korean can be drawn, too; elsewhere such names become numbers, which the text beside the
picture explains.
"""

import re
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager

from bot.chat.text import one_line

_WIDE = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
)
_ALWAYS = "DejaVu Sans"


@cache
def families() -> list[str]:
    """Return the available fonts; each provides characters that the ones before it lack."""
    here = {font.name for font in font_manager.fontManager.ttflist}
    return [_ALWAYS, *(name for name in _WIDE if name in here)]


@cache
def _drawable() -> frozenset[int]:
    found = (font_manager.findfont(name, fallback_to_default=False) for name in families())
    return frozenset(code for path in found for code in font_manager.get_font(path).get_charmap())


class PlotTexts:
    """Texts of one picture; `names_by_number` maps a number in the picture to the name that it replaces."""

    def __init__(self) -> None:
        self.names_by_number: dict[str, str] = {}
        self._numbers: dict[str, str] = {}  # the same, by name

    def title(self, text: str) -> str:
        """Return the drawable part of a text, or an empty string if it has no letters or digits."""
        drawn = _drawable_part(text)
        return drawn if re.search(r"\w", drawn) else ""

    def name(self, text: str) -> str:
        """Return a name without emoji, or a number for a name that cannot be drawn."""
        drawn = _drawable_part(text)
        lost = sum(character.isalnum() for character in text) - sum(each.isalnum() for each in drawn)
        if lost == 0 and (drawn or not text):
            return drawn
        number = self._numbers.setdefault(text, f"#{len(self._numbers) + 1}")
        self.names_by_number[number] = text
        return number

    def names(self, texts: Iterable[str]) -> list[str]:
        """Return the drawable form of each name."""
        return [self.name(text) for text in texts]


def _drawable_part(text: str) -> str:
    kept = (character for character in text if ord(character) in _drawable() and character.isprintable())
    return one_line("".join(kept))
