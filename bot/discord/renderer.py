"""Renderer of one answer as the texts of its Discord messages. Pure."""

from discord.utils import escape_markdown

from bot.chat import File, Notice, Part, Table, Text, ToolStep
from bot.chat.text import one_line
from bot.discord.markdown.pages import Pages, finish, open_document, render
from bot.platforms.markdown.atoms import Atom, Place
from bot.platforms.table_text import code_block, is_cut

PIECE = 1_800
"""Characters of the answer in a message, of the 2,000 that Discord takes: the rest is for the lines of
running tools, and for emoji, in case Discord counts them twice."""

_RUNNING_ROOM = 180
"""UTF-16 units for the lines of running tools."""

_ACTIVITY = 50
_TITLE = 70
_OUTCOME = 150
_MARKS = {"finished": "✓", "failed": "⚠️", "started": "▫️"}


class Renderer:
    """Renderer of one answer; `files` are those not shown yet.

    Text grows only at its end, so finished messages never change: a finished tool step becomes a separate
    line; each running one is a temporary line at the end of the last message.
    """

    def __init__(self) -> None:
        self.files: list[File] = []
        self._pages = Pages(PIECE)
        self._trailing = 0  # newlines at the end of the final text
        self._is_blank = True
        self._run = open_document()  # of the text since the last other part
        self._steps: dict[str, ToolStep] = {}  # running ones

    @property
    def is_working(self) -> bool:
        """Return whether a tool is running."""
        return bool(self._steps)

    def add(self, part: Part) -> None:
        """Add the next part of the answer."""
        match part:
            case Text():
                self._run.feed(part.text)
            case Notice():
                self._set_apart(part.text, apart=2)
            case ToolStep(state="started"):
                self._steps[part.id] = part
            case Table():
                block, rows = code_block(part, PIECE)
                self._set_apart(block, apart=2)
                if rows < part.total or is_cut(part) or not part.is_whole:
                    self.files.append(part.file)
            case File():  # shown in a separate message by bot.discord.uploads
                self.files.append(part)
            case ToolStep():
                self._steps.pop(part.id, None)
                self._set_apart(_line(part), apart=1)

    def finish(self) -> None:
        """End the answer; steps without a known end become lines."""
        for step in self._steps.values():
            self._set_apart(_line(step), apart=1)
        self._steps.clear()
        self._end_run()

    def messages(self) -> list[str]:
        """Return the text of each message. As the answer grows, the last one changes or new ones follow."""
        self._settle(self._run.take())
        pieces = self._pages.texts(self._run.tentative())
        if self._steps:
            status = _running_lines(list(self._steps.values()))
            pieces[-1:] = ["\n".join([*pieces[-1:], status])]
        return pieces

    def _set_apart(self, block: str, apart: int) -> None:
        """Add lines, separated by `apart` newlines from the text around them."""
        self._end_run()
        lead = "" if self._is_blank else "\n" * (apart - self._trailing)
        self._settle([_space(lead), *render(block), _space("\n" * apart)])

    def _end_run(self) -> None:
        self._settle(finish(self._run))
        self._run = open_document()

    def _settle(self, atoms: list[Atom]) -> None:
        for atom in atoms:
            bare = atom.text.rstrip("\n")
            self._trailing = len(atom.text) - len(bare) + (0 if bare else self._trailing)
            self._is_blank = self._is_blank and not atom.text.strip()
        self._pages.add(atoms)


def _space(text: str) -> Atom:
    return Atom(text, Place.CHARACTER)


def _line(step: ToolStep) -> str:
    outcome = f": {_plain(step.outcome, _OUTCOME)}" if step.outcome else ""
    return f"-# {_MARKS[step.state]} {_plain(step.title or step.name, _TITLE)}{outcome}"


def _running_lines(steps: list[ToolStep]) -> str:
    """Return one line for each step, as many as there is room for."""
    lines: list[str] = []
    room = _RUNNING_ROOM - len(f" (+{len(steps)} more)")
    for step in steps:
        line = f"-# ⏳ {_plain(step.ongoing, _ACTIVITY)}…"
        room -= len(line.encode("utf-16-le")) // 2 + 1
        if lines and room < 0:
            return "\n".join(lines) + f" (+{len(steps) - len(lines)} more)"
        lines.append(line)
    return "\n".join(lines)


def _plain(text: str, longest: int) -> str:
    """Return text from a model or from data as part of a line, with Markdown made inert."""
    return escape_markdown(one_line(text[: 4 * longest], longest))
