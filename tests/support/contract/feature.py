"""Features of the bot: each is a story, and the table of `docs/features.md`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.support.contract.place import Place

Kind = Literal["Slack, sockets", "Slack, HTTP", "Discord"]
"""Ways in which the bot talks with users in chats."""

KINDS: Sequence[Kind] = ("Slack, sockets", "Slack, HTTP", "Discord")


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature, with the story that proves it.

    `lacking` has a reason for each platform (`Slack` or `Discord`) that does not have it.
    """

    name: str
    use: str
    story: Callable[[Place], Awaitable[None]]
    lacking: Mapping[str, str] = field(default_factory=dict)

    def lack(self, kind: Kind) -> str:
        """Return the reason why a platform does not have it, or an empty string."""
        return self.lacking.get(kind.partition(",")[0], "")


Chapter = tuple[str, Sequence[Feature]]

_TOP = """\
# Features

What users can do on each platform. `./dev features` writes this page from the stories of `test_contract`:
each is told once, and run on every platform, with the whole bot and a server that refuses what the real
service refuses. ✓ means that the story passes there. The [gallery](gallery.md) shows what users see.
"""


def document(chapters: Sequence[Chapter]) -> str:
    """Return the page with all features."""
    head = f"| feature | what users do | {' | '.join(KINDS)} |\n|{'---|' * (2 + len(KINDS))}"
    parts = [_TOP]
    for title, features in chapters:
        rows = [f"| {' | '.join(_row(each))} |" for each in features]
        parts.append("\n".join([f"## {title}", "", head, *rows, ""]))
    return "\n".join(parts)


def _row(feature: Feature) -> Sequence[str]:
    return [feature.name, feature.use, *(feature.lack(kind) or "✓" for kind in KINDS)]
