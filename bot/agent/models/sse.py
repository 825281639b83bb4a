"""Lenient reader for server-sent events, linear in time and bounded in memory.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html. Services omit blank lines and the last
line end, end lines in three ways, begin with a BOM, and send JSON or HTML instead.
"""

from collections.abc import Iterator
from typing import NamedTuple

LONGEST_EVENT = 8 * 2**20
_BOM = b"\xef\xbb\xbf"
_DONE = "[done]"


class Event(NamedTuple):
    """One event: its data, and its name if it has one, such as `error`."""

    data: str
    name: str = ""

    @property
    def is_done(self) -> bool:
        """Return True for `[DONE]`, which ends an answer."""
        return len(self.data) < 16 and self.data.strip(' "').lower() == _DONE


class TooLong(Exception):
    """Line or event longer than `LONGEST_EVENT` bytes."""


class EventReader:
    """Incremental parser: takes chunks of bytes, yields events, and keeps other lines in `stray`."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._line_size = 0
        self._is_first = True
        self._data: list[str] = []
        self._data_size = 0
        self._name = ""
        self._stray: list[bytes] = []
        self._stray_size = 0

    @property
    def stray(self) -> str:
        """Return the text outside of events: the body of a response that is not a stream."""
        return b"\n".join(self._stray).decode(errors="replace")

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that `chunk` completes. Raises `TooLong`."""
        ends_a_line = b"\n" in chunk or b"\r" in chunk or (self._line and self._line[-1].endswith(b"\r"))
        if not ends_a_line:
            self._keep(chunk)
            return
        content = b"".join([*self._line, chunk])
        lines = content.splitlines()
        self._line, self._line_size = [], 0
        if lines and not content.endswith(b"\n"):
            last = lines.pop()
            self._keep(last + b"\r" if content.endswith(b"\r") else last)  # it may be half of a "\r\n"
        for line in lines:
            if event := self._feed(line):
                yield event

    def finish(self) -> Iterator[Event]:
        """Yield the last events at the end of the stream, even if no line end closes them."""
        rest = b"".join(self._line).rstrip(b"\r\n")
        for event in (self._feed(rest), self._dispatch()):
            if event:
                yield event

    def _keep(self, chunk: bytes) -> None:
        self._line.append(chunk)
        self._line_size += len(chunk)
        if self._line_size > LONGEST_EVENT:
            raise TooLong("a line of the stream is too long")

    def _feed(self, line: bytes) -> Event | None:
        """Return the event that a line completes."""
        if self._is_first:
            self._is_first, line = False, line.removeprefix(_BOM)
        if not line:
            return self._dispatch() if self._data else None
        if line.startswith(b"data:"):
            return self._feed_data(line)
        if line.startswith(b"event:"):
            event = self._dispatch()
            self._name = line[6:].strip().decode(errors="replace")
            return event
        if not line.startswith((b":", b"id:", b"retry:")):
            self._stray_size += len(line)
            if self._stray_size <= LONGEST_EVENT:
                self._stray.append(line)
        return None

    def _feed_data(self, line: bytes) -> Event | None:
        data = line[5:].removeprefix(b" ").decode(errors="replace")
        if not self._data and _is_whole(data):  # there may be no blank line after it
            event, self._name = Event(data, self._name), ""
            return event
        self._data_size += len(line)
        if self._data_size > LONGEST_EVENT:
            raise TooLong("an event of the stream is too long")
        self._data.append(data)
        return None

    def _dispatch(self) -> Event | None:
        if not self._data:
            return None
        event = Event("\n".join(self._data), self._name)
        self._data, self._data_size, self._name = [], 0, ""
        return event


def _is_whole(data: str) -> bool:
    return (data[:1] == "{" and data.rstrip()[-1] == "}") or Event(data).is_done
