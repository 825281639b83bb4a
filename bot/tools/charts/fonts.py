"""What can be written: matplotlib draws a box, and warns, for a character that no font here has.

matplotlib brings DejaVu Sans (Latin, Greek, Cyrillic, Arabic, Hebrew). A machine with one of the fonts below
writes Chinese, Japanese and Korean, too; elsewhere such names become numbers, which the words beside the
picture tell.
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
    """The fonts to write with, each for what those before it lack."""
    here = {font.name for font in font_manager.fontManager.ttflist}
    return [_ALWAYS, *(name for name in _WIDE if name in here)]


@cache
def _drawable() -> frozenset[int]:
    found = (font_manager.findfont(name, fallback_to_default=False) for name in families())
    return frozenset(code for path in found for code in font_manager.get_font(path).get_charmap())


class Writing:
    """The texts of one picture. `numbered` are the names that stand there as numbers, by their number."""

    def __init__(self) -> None:
        self.numbered: dict[str, str] = {}
        self._numbers: dict[str, str] = {}  # the same, by name

    def title(self, text: str) -> str:
        """As much of a text as can be drawn; nothing if that says nothing."""
        drawn = _kept(text)
        return drawn if re.search(r"\w", drawn) else ""

    def name(self, text: str) -> str:
        """A name without emoji and the like, or a number for one that cannot be drawn."""
        drawn = _kept(text)
        lost = sum(character.isalnum() for character in text) - sum(each.isalnum() for each in drawn)
        if lost == 0 and (drawn or not text):
            return drawn
        number = self._numbers.setdefault(text, f"#{len(self._numbers) + 1}")
        self.numbered[number] = text
        return number

    def names(self, texts: Iterable[str]) -> list[str]:
        """Each as a name."""
        return [self.name(text) for text in texts]


def _kept(text: str) -> str:
    kept = (character for character in text if ord(character) in _drawable() and character.isprintable())
    return one_line("".join(kept))
