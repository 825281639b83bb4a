"""Renderer of an answer for Slack: parts in; text, cuts and task cards out. Pure."""

from collections.abc import Iterable

from bot.chat import File, Json, Notice, Part, Text, ToolStep
from bot.slack.markdown import PageBreak, Pager, clip

FIELD_LIMIT = 256
"""Characters in each text of a task card."""

Card = dict[str, Json]
"""A `task_update` chunk: https://docs.slack.dev/reference/methods/chat.appendStream"""

Item = str | PageBreak | Card

_STATUS = {"started": "in_progress", "finished": "complete", "failed": "error"}


class Renderer:
    """Renderer of one answer; `files` are still to be shown."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self._pager = Pager()
        self._items: list[Item] = []
        self._size = 0
        self._grown = 0  # characters of the text since the items were taken
        self._titles: dict[str, str] = {}
        self._announced: set[str] = set()

    def add(self, part: Part) -> None:
        """Take the next part."""
        match part:
            case Text(text):
                self._pager.feed(text)
                self._grown += len(text)
            case Notice(text):
                self._queue(self._pager.paragraph(text))
            case ToolStep():
                self._queue([*self._pager.flush(), self._card(part)])
            case File():  # shown in a separate message by bot.slack.uploads
                self._queue(self._pager.flush())
                self.files.append(part)

    def finish(self) -> None:
        """End the answer: nothing is held back any longer."""
        self._queue(self._pager.finish())

    def take(self) -> list[Item]:
        """Return the items that were not taken before, in order."""
        self._queue(self._pager.take())
        items, self._items, self._size, self._grown = self._items, [], 0, 0
        return items

    @property
    def text(self) -> str:
        """Return all text so far, as `paginate` takes it."""
        return "".join(self._pager.source)

    @property
    def has_items(self) -> bool:
        """Return whether there may be items to take."""
        return bool(self._items) or self._grown > 0

    @property
    def items_size(self) -> int:
        """Return the characters to take at most; a card counts as `FIELD_LIMIT`."""
        return self._size + self._grown

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
