"""Current time, for the tool `current_time`."""

from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from bot.tools.errors import ToolFailure


def current_time(zone: str | None = None) -> str:
    """Return the time in an IANA time zone (UTC by default), with weekday, offset and ISO week.

    Raises `ToolFailure` with similar names for an unknown zone.
    """
    now = datetime.now(_zone(zone.strip()) if zone else UTC)
    return f"{now:%A} {now.isoformat(sep=' ', timespec='seconds')} ({zone or 'UTC'}, ISO week {now:%V})"


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    # OSError: the name of a directory, such as "America"; ValueError: a path outside of the database
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = _similar(name)
        advice = f"Did you mean {' or '.join(near)}?" if near else "Use an IANA name such as Europe/Berlin."
        raise ToolFailure(f"There is no time zone {name[:50]!r}.\n{advice}") from error


def _similar(name: str) -> list[str]:
    """Return zones with a name, or a city, that is spelled like `name`."""
    by_spelling = _spellings()
    wanted = name.replace(" ", "_").lower()
    near = get_close_matches(wanted.rpartition("/")[2], by_spelling, n=3, cutoff=0.7)
    return list(dict.fromkeys(by_spelling[each] for each in near))


@cache
def _spellings() -> dict[str, str]:
    """Return each zone by its city in lower case, `berlin` for Europe/Berlin."""
    return {zone.rpartition("/")[2].lower(): zone for zone in sorted(available_timezones())}
