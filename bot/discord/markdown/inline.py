"""Inline Markdown: code, links and addresses, which should not be cut."""

import re
from collections.abc import Iterator

_TICKS = re.compile(r"`+")
_START = re.compile(r"`+|\[|https?://[!-;=?-~]+|h(?:t(?:t(?:ps?(?::/{0,2})?)?)?)?\Z")
_LINK_TEXT = re.compile(r"\[[^\[\]]*")
_TARGET = re.compile(r"\((?:[^()\s]|\([^()\s]*\))*+(?: \"[^\"]*\")?\)")

# bars would hide the text between them; Discord shows a line break tag as text
_SPECIAL = re.compile(r"(?P<bars>(?<!\\)\|{2,})|<br ?/?>", re.IGNORECASE)
_BREAK_BEGINS = re.compile(r"<(?:b(?:r(?: ?/?)?)?)?", re.IGNORECASE)
_LONGEST_BREAK = len("<br />")
_QUOTE = re.compile(r"[ \t]{0,3}(?:>[ \t]?){1,20}")


def code_spans(line: str) -> tuple[list[tuple[int, int]], int]:
    """Return the spans of inline code in a line, and the start of code that the line does not close.

    That start is the line's end if all code is closed. As in CommonMark 0.31, section 6.1, but without code
    over several lines. Each run of backticks is read once, whatever its length.
    """
    runs = [match.span() for match in _TICKS.finditer(line)]
    closes: list[int] = [0] * len(runs)  # the next run of the same length
    latest: dict[int, int] = {}
    for index in range(len(runs) - 1, -1, -1):
        size = runs[index][1] - runs[index][0]
        closes[index] = latest.get(size, 0)
        latest[size] = index
    spans: list[tuple[int, int]] = []
    unended, index = len(line), 0
    while index < len(runs):
        start = runs[index][0]
        is_escaped = start > 0 and line[start - 1] == "\\"
        if closes[index] and not is_escaped:
            index = closes[index]
            spans.append((start, runs[index][1]))
        elif not is_escaped:
            unended = min(unended, start)
        index += 1
    return spans, unended


def spans(window: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each piece that should not be cut.

    A piece that may continue after the window ends beyond its last character.
    """
    at = 0
    *lines, last = window.split("\n")
    for line in lines:
        yield from ((at + start, at + end) for start, end in _line_spans(line, goes_on=False))
        at += len(line) + 1
    yield from ((at + start, at + end) for start, end in _line_spans(last, goes_on=True))


def _line_spans(line: str, *, goes_on: bool) -> Iterator[tuple[int, int]]:
    code, unended = code_spans(line)
    ends = dict(code)
    if goes_on and unended < len(line):
        ends[unended] = len(line)
    last_word = max(line.rfind(" "), line.rfind("\t")) + 1
    at = 0
    while match := _START.search(line, at):
        start = match.start()
        if match[0][0] == "`":
            end = ends.get(start, 0)
        elif match[0] == "[":
            end = _link_end(line, start, last_word if goes_on else len(line) + 1)
        else:
            end = match.end() if goes_on or "://" in match[0] else 0
        if end:
            yield start, end
        at = end or match.end()


def _link_end(line: str, start: int, last_word: int) -> int:
    """Return the end of a link, 0 if there is none. From `last_word` on it may continue after the line."""
    text = _LINK_TEXT.match(line, start)
    end = text.end() if text else start
    goes_on = last_word <= len(line)
    if end == len(line) or (line.startswith("]", end) and end + 1 == len(line)):
        return len(line) if goes_on else 0
    if not line.startswith("](", end):
        return 0
    target = _TARGET.match(line, end + 1)
    if target:
        return target.end()
    return len(line) if goes_on and end >= last_word else 0


def quote_of(line: str) -> str:
    """Return the quote marks at the beginning of a line."""
    match = _QUOTE.match(line)
    return match[0] if match else ""


def prose(line: str) -> str:
    """Return `line` with bars outside code escaped, and line break tags turned into line breaks.

    A pair of `||` (in SQL, joined texts) would hide text.
    """
    shown, at = [], 0
    line_break = "\n" + quote_of(line)
    for start, end in code_spans(line)[0]:
        shown += [_replace_special(line[at:start], line_break), line[start:end]]
        at = end
    return "".join([*shown, _replace_special(line[at:], line_break)])


def _replace_special(text: str, line_break: str) -> str:
    return _SPECIAL.sub(lambda each: r"\|" * len(each["bars"]) if each["bars"] else line_break, text)


def prose_so_far(line: str) -> str:
    """Return `prose` of an unfinished line, as far as it does not depend on what follows."""
    tag = line.rfind("<", -_LONGEST_BREAK)
    begins_tag = tag >= 0 and _BREAK_BEGINS.fullmatch(line, tag)
    line = line[:tag] if begins_tag else line.rstrip("`|")
    code, unended = code_spans(line)
    ends = [end for _, end in code]
    starts = [start for start, _ in code]
    for gap_start, gap_end in zip([0, *ends], [*starts, len(line)], strict=True):
        if gap_end <= unended:
            continue
        special = _SPECIAL.search(line, max(gap_start, unended), gap_end)
        if special:  # it is not known to be code before the code ends
            return prose(line[: special.start()])
    return prose(line)
