"""One answer as the texts of its Discord messages. Pure."""

from discord.utils import escape_markdown

from bot.chat import File, Notice, Part, Text, ToolStep
from bot.discord.dialect import render
from bot.discord.fences import left_open
from bot.discord.markdown import split

PIECE = 1_800
"""Characters of the answer in a message, of the 2,000 that Discord takes: the rest is for the line of what
is at work, and for emoji, should Discord count them twice."""

_TITLE = 70
_OUTPUT = 120
_MARKS = {"finished": "✅", "failed": "⚠️", "started": "▫️"}


class Transcript:
    """Gathers the parts of an answer and lays them out.

    What is shown only grows at its end, so finished messages never change: a tool step becomes a line of
    its own where it ends; while at work it is a passing line below the last message. `files` are still to be
    shown.
    """

    def __init__(self) -> None:
        self.files: list[File] = []
        self._settled = ""
        self._run = ""  # text since the last part that was no text
        self._steps: dict[str, ToolStep] = {}  # those at work

    @property
    def working(self) -> bool:
        """Whether a tool is at work."""
        return bool(self._steps)

    def add(self, part: Part) -> None:
        """Take the next part of the answer."""
        match part:
            case Text():
                self._run += part.text
            case Notice():
                self._settle(part.text, apart=2)
            case ToolStep(state="started"):
                self._steps[part.id] = part
            case File():  # a message of its own: see bot.discord.uploads
                self.files.append(part)
            case ToolStep():
                self._steps.pop(part.id, None)
                self._settle(_line(part), apart=1)

    def finish(self) -> None:
        """No part comes after this; steps that never told how they ended are kept as lines."""
        for step in self._steps.values():
            self._settle(_line(step), apart=1)
        self._steps.clear()
        self._end_run()

    def messages(self) -> list[str]:
        """What each message shows now. As the answer grows only the last one changes, or new ones follow."""
        pieces = split(self._settled + render(self._run, finished=False), PIECE)
        if pieces and (fence := left_open(pieces[-1])):
            pieces[-1] += f"\n{fence.mark}"
        if self._steps:
            status = _status(list(self._steps.values()))
            pieces[-1:] = ["\n".join([*pieces[-1:], status])]
        return pieces

    def _settle(self, block: str, apart: int) -> None:
        """Add lines that stand `apart` newlines from what is around them."""
        self._end_run()
        if self._settled.strip():
            ends = len(self._settled) - len(self._settled.rstrip("\n"))
            self._settled += "\n" * (apart - ends)
        self._settled += render(block, finished=True) + "\n" * apart

    def _end_run(self) -> None:
        self._settled += render(self._run, finished=True)
        self._run = ""


def _line(step: ToolStep) -> str:
    outcome = f": {_plain(step.output, _OUTPUT)}" if step.output.strip() else ""
    return f"-# {_MARKS[step.state]} {_plain(step.title, _TITLE)}{outcome}"


def _status(steps: list[ToolStep]) -> str:
    more = f" (+{len(steps) - 1} more)" if len(steps) > 1 else ""
    return f"-# 🔎 {_plain(steps[-1].title, _TITLE).rstrip('.…')}…{more}"


def _plain(text: str, longest: int) -> str:
    """Text from a model or from data as a piece of a line, without meaning as Markdown."""
    line = " ".join(text.split())
    return escape_markdown(line if len(line) <= longest else f"{line[: longest - 1]}…")
