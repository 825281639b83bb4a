"""Page of the gallery: `docs/gallery.md`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tests.gallery.shows import SHOWS, Show
from tests.support.bot import ROOT

PAGE = ROOT / "docs/gallery.md"
PICTURES = ROOT / "docs/gallery"

Platform = Literal["slack", "discord"]

_TOP = """\
# Gallery

What users see. `./dev gallery` runs these conversations with the whole bot, a scripted model and the protocol
servers of the tests, and draws what the servers received: every word, block and button is the bot's, the
look is a simple drawing of Slack (light) and Discord (dark). [Features](features.md) lists what each
platform has.
"""


def picture(show: Show, platform: Platform) -> Path:
    """Return the file of a picture."""
    return PICTURES / f"{show.name}-{platform}.png"


def platforms(show: Show) -> Sequence[Platform]:
    """Return the platforms on which a conversation is drawn."""
    return [show.only] if show.only else ["slack", "discord"]


def document() -> str:
    """Return the page with all pictures."""
    parts = [_TOP]
    for show in SHOWS:
        links = [
            f"![{show.title}, on {each.title()}](gallery/{picture(show, each).name})"
            for each in platforms(show)
        ]
        parts.append("\n".join([f"## {show.title}", "", "\n\n".join(links), ""]))
    return "\n".join(parts)
