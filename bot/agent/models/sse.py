"""Lenient reader for server-sent events, linear in time and bounded in memory.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html. Services omit blank lines and the last
line end, end lines in three ways, begin with a BOM, and send JSON or HTML instead.
"""

from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_EVENT = 8 * 2**20
_BOM = b"\xef\xbb\xbf"
_DONE = "[done]"


@dataclass(frozen=True, slots=True)
class Event:
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
        lines = b"".join([*self._line, chunk]).splitlines(keepends=True)
        self._line, self._line_size = [], 0
        # a last "\r" may be half of a "\r\n"
        if lines and not lines[-1].endswith(b"\n"):
            self._keep(lines.pop())
        for line in lines:
            yield from self._feed(line.rstrip(b"\r\n"))

    def finish(self) -> Iterator[Event]:
        """Yield the last events at the end of the stream, even if no line end closes them."""
        if rest := b"".join(self._line).rstrip(b"\r\n"):
            yield from self._feed(rest)
        yield from self._dispatch()

    def _keep(self, chunk: bytes) -> None:
        self._line.append(chunk)
        self._line_size += len(chunk)
        if self._line_size > LONGEST_EVENT:
            raise TooLong("a line of the stream is too long")

    def _feed(self, line: bytes) -> Iterator[Event]:
        if self._is_first:
            self._is_first, line = False, line.removeprefix(_BOM)
        if not line:
            yield from self._dispatch()
        elif line.startswith(b"data:"):
            if len(self._data) == 1 and _is_whole(self._data[0]):
                yield from self._dispatch()  # no blank line stands between two events
            self._data_size += len(line)
            if self._data_size > LONGEST_EVENT:
                raise TooLong("an event of the stream is too long")
            self._data.append(line[5:].removeprefix(b" ").decode(errors="replace"))
        elif line.startswith(b"event:"):
            yield from self._dispatch()
            self._name = line[6:].strip().decode(errors="replace")
        elif not line.startswith((b":", b"id:", b"retry:")):
            self._stray_size += len(line)
            if self._stray_size <= LONGEST_EVENT:
                self._stray.append(line)

    def _dispatch(self) -> Iterator[Event]:
        if self._data:
            event = Event("\n".join(self._data), self._name)
            self._data, self._data_size, self._name = [], 0, ""
            yield event


def _is_whole(data: str) -> bool:
    return (data.startswith("{") and data.rstrip().endswith("}")) or Event(data).is_done
