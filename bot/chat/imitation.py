"""Protection against imitated approval requests in text of the model, tools and data. Pure.

Every approval request begins with `SIGN`. Other text of the bot loses that sign, signs that look like it, and
custom emoji; a command that would decide a request loses the request's id.
"""

import re
from dataclasses import replace

from bot.chat.parts import (
    AnswerButtons,
    Approval,
    Chart,
    File,
    Notice,
    OpenRequests,
    Part,
    Question,
    Table,
    Text,
    ToolStep,
)
from bot.chat.text_decisions import AROUND, MOST_BETWEEN

SIGN = "🔏"
"""First character of every approval request, and of every message about one."""

# code points of the signs, and of the letters, digits, colon and underscore in their names and in a command
_SIGN_NUMBER = r"x0{0,20}1f5(?:0f|1[023])|0{0,20}1282(?:7[1245])"
_DECIMAL = r"0{0,20}(?:4[89]|5[0-8]|6[5-9]|[78]\d|9[05789]|1[01]\d|12[0-2])"
_HEX = r"x0{0,20}(?:3[0-9a]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a])"

_COMMAND = rf"(?<![^\W_])(?:approve|reject)[{re.escape(AROUND)}~:,>-]{{1,{MOST_BETWEEN}}}"
_IMITATION = re.compile(
    r"(?P<sign>[🔏🔐🔒🔓])"
    # Slack shows such signs; in Markdown a backslash before a mark is not shown
    r"|:(?:lock\\?_with\\?_ink\\?_pen|closed\\?_lock\\?_with\\?_key|unlock|lock)\\?(?P<colon>:)"
    # Markdown decodes references such as `&#128271;`, but none without its end
    rf"|&(?:#(?:{_SIGN_NUMBER}|{_DECIMAL}|{_HEX})|colon|lowbar|underbar)(?P<end>;)"
    # the end of a custom emoji on Discord, `<:name:id>`: its picture may be the sign
    r"|(?<=\w):\d{17,20}(?P<emoji>>)"
    rf"|{_COMMAND}(?P<id>[0-9a-f]{{8}})(?![^\W_])",
    re.IGNORECASE,
)
_INSTEAD = {"sign": "[lock]", "colon": "\u200b:", "end": "\u200b;", "emoji": "\u200b>", "id": "[…]"}
_UNDECIDED = re.compile(rf"{_COMMAND}(?P<id>[0-9a-f]{{1,8}})\Z", re.IGNORECASE)
_LONGEST = MOST_BETWEEN + 20
"""Length that exceeds any imitation."""


def harmless(text: str) -> str:
    """Return `text` without anything that could pass for an approval request."""
    return _from(text, 0)


def _from(text: str, begin: int) -> str:
    """Return `text` from `begin` on, made harmless. The text before `begin` only serves as context."""
    pieces = []
    for found in _IMITATION.finditer(text):
        name = found.lastgroup or ""
        if found.start(name) >= begin:
            pieces += [text[begin : found.start(name)], _INSTEAD[name]]
            begin = found.end(name)
    return "".join([*pieces, text[begin:]])


class Harmless:
    """Streaming form of `harmless`: the result does not depend on how the text is divided.

    Only an id is held back until its end is known.
    """

    def __init__(self) -> None:
        self._shown = ""  # the end of it
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return the text that can be shown now."""
        text = self._shown + self._held + piece
        undecided = _UNDECIDED.search(text, max(0, len(text) - _LONGEST))
        return self._until(undecided.start("id") if undecided else len(text), text)

    def rest(self) -> str:
        """Return the text that was held back, at the end or before an interruption."""
        text = self._shown + self._held
        return self._until(len(text), text)

    def _until(self, end: int, text: str) -> str:
        shown = _from(text[:end], len(self._shown))
        self._shown, self._held = text[max(0, end - _LONGEST) : end], text[end:]
        return shown


def inert(part: Part) -> Part:
    """Return a whole part, changed so that it cannot imitate an approval request."""
    match part:
        case Text():
            return Text(harmless(part.text))
        case ToolStep():
            title, output, activity = map(harmless, (part.title, part.output, part.activity))
            return replace(part, title=title, output=output, activity=activity)
        case Notice():
            return Notice(harmless(part.text), part.status)
        case Table():
            columns = tuple(replace(each, name=harmless(each.name)) for each in part.columns)
            rows = tuple(tuple(value and harmless(value) for value in row) for row in part.rows)
            return replace(part, title=harmless(part.title), columns=columns, rows=rows)
        case File():
            return replace(part, alt=harmless(part.alt), chart=part.chart and _inert_chart(part.chart))
        case Question():
            return replace(part, text=harmless(part.text), options=tuple(map(harmless, part.options)))
        case Approval() | AnswerButtons() | OpenRequests():
            return part


def _inert_chart(chart: Chart) -> Chart:
    return replace(
        chart,
        title=harmless(chart.title),
        labels=tuple(map(harmless, chart.labels)),
        series=tuple(replace(each, name=harmless(each.name)) for each in chart.series),
        x_label=harmless(chart.x_label),
        y_label=harmless(chart.y_label),
    )
