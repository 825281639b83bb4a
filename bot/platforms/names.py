"""Names that a chat service tells for ids: kept for a time, and written so that none looks like a link."""

import re
import time
from dataclasses import dataclass, field

from bot.chat.text import one_line

_MOST_KNOWN = 1_000


@dataclass(slots=True)
class KnownNames:
    """Names by id, each valid until a time (monotonic seconds); empty ones are those that are not told."""

    entries: dict[str, tuple[float, str]] = field(default_factory=dict)

    def get(self, id: str) -> str | None:
        """Return a name, or None if the service has to be asked."""
        until, name = self.entries.get(id, (0.0, ""))
        return name if until > time.monotonic() else None

    def last(self, id: str) -> str:
        """Return the newest name, however old; nothing if there is none."""
        return self.entries.get(id, (0.0, ""))[1]

    def put(self, id: str, name: str, seconds: float) -> None:
        """Keep a name for so many seconds."""
        self.entries.pop(id, None)
        if len(self.entries) >= _MOST_KNOWN:
            self.entries.pop(next(iter(self.entries)))
        self.entries[id] = (time.monotonic() + seconds, name)


def name_in_text(name: str) -> str:
    """Return a name as it is put into the text of somebody else.

    It is on one line, and without the "//" of an address: links that an author writes are followed, and
    nobody can put one into their text by choosing a name.
    """
    return re.sub("/{2,}", "/", one_line(name))
