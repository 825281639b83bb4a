"""Names that a chat service tells for ids: kept for a time, and written so that none looks like a link."""

import re
import time
from dataclasses import dataclass, field

from bot.chat.text import one_line

_MOST_KNOWN = 1_000


_NEVER = (0.0, "", 0.0)


@dataclass(slots=True)
class KnownNames:
    """Names by id, each valid until a time (monotonic seconds); empty ones are those that are not told.

    While the service is silent, a name remains for at most `max_age` seconds after it was told.
    """

    max_age: float = 86_400.0
    entries: dict[str, tuple[float, str, float]] = field(default_factory=dict)

    def get(self, id: str) -> str | None:
        """Return a name, or None if the service has to be asked."""
        until, name, _ = self.entries.get(id, _NEVER)
        return name if until > time.monotonic() else None

    def put(self, id: str, name: str, seconds: float) -> None:
        """Keep what the service tells for so many seconds."""
        now = time.monotonic()
        self._put(id, (now + seconds, name, now))

    def keep(self, id: str, seconds: float) -> str:
        """Keep the name that an id had, about which the service is silent, for so many seconds; return it."""
        now, (_, name, told_at) = time.monotonic(), self.entries.get(id, _NEVER)
        name = name if now - told_at < self.max_age else ""
        self._put(id, (now + seconds, name, told_at))
        return name

    def _put(self, id: str, entry: tuple[float, str, float]) -> None:
        self.entries.pop(id, None)
        if len(self.entries) >= _MOST_KNOWN:
            self.entries.pop(next(iter(self.entries)))
        self.entries[id] = entry


def name_in_text(name: str) -> str:
    """Return a name as it is put into the text of somebody else.

    It is on one line, and without the "//" of an address: links that an author writes are followed, and
    nobody can put one into their text by choosing a name.
    """
    return re.sub("/{2,}", "/", one_line(name))
