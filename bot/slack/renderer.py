"""Renderer of an answer for Slack: parts in; text, cuts and task cards out. Pure."""

from collections.abc import Iterable

from bot.chat import Artifact, File, Json, Notice, Part, Table, Text, ToolStep
from bot.slack.markdown import PageBreak, Pager, clip

FIELD_LIMIT = 256
"""Characters in each text of a task card."""

Card = dict[str, Json]
"""A `task_update` chunk: https://docs.slack.dev/reference/methods/chat.appendStream"""

Item = str | PageBreak | Card

_STATUS = {"started": "in_progress", "finished": "complete", "failed": "error"}


class Renderer:
    """Renderer of one answer; `artifacts` are still to be shown, `files` those of them that are uploaded."""

    def __init__(self) -> None:
        self.artifacts: list[Artifact] = []
        self.files: list[File] = []
        self._pager = Pager()
        self._items: list[Item] = []
        self._size = 0
        self._titles: dict[str, str] = {}
        self._announced: set[str] = set()

    def add(self, part: Part) -> None:
        """Take the next part."""
        match part:
            case Text(text):
                self._queue(self._pager.feed(text))
            case Notice(text):
                self._queue(self._pager.paragraph(text))
            case ToolStep():
                self._queue([*self._pager.flush(), self._card(part)])
            case Table() | File():  # shown in separate messages by bot.slack.artifacts
                self._queue(self._pager.flush())
                self.artifacts.append(part)

    def finish(self) -> None:
        """End the answer: nothing is held back any longer."""
        self._queue(self._pager.flush())

    def take(self) -> list[Item]:
        """Return the items that were not taken before, in order."""
        items, self._items, self._size = self._items, [], 0
        return items

    @property
    def text(self) -> str:
        """Return all text so far, as `paginate` takes it."""
        return "".join(self._pager.source)

    @property
    def has_items(self) -> bool:
        """Return whether there are items to take."""
        return bool(self._items)

    @property
    def items_size(self) -> int:
        """Return the characters to take; a card counts as `FIELD_LIMIT`."""
        return self._size

    def cut_soon(self) -> None:
        """End the message at the next place that breaks no word and no line of code."""
        self._pager.cut_soon()

    def cut(self) -> PageBreak:
        """End the message after the items that were taken."""
        return self._pager.cut()

    def outline(self) -> str:
        """Return the steps as a list, for an answer without text."""
        return "\n".join(f"- {title}" for title in self._titles.values())

    def _queue(self, items: Iterable[Item]) -> None:
        for item in items:
            self._items.append(item)
            self._size += len(item) if isinstance(item, str) else FIELD_LIMIT

    def _card(self, step: ToolStep) -> Card:
        # when a card is sent again, Slack replaces its title and status but appends to its output
        self._titles[step.id] = title = clip(step.title or step.name, FIELD_LIMIT)
        card: Card = {"type": "task_update", "id": step.id, "title": title, "status": _STATUS[step.state]}
        if step.output and step.id not in self._announced:
            self._announced.add(step.id)
            card["output"] = clip(step.output, FIELD_LIMIT)
        return card
