"""An answer on its way to Slack's form: parts in, text, cuts and task cards out. Pure."""

from collections.abc import Iterable

from bot.chat import File, Json, Notice, Part, Text, ToolStep
from bot.slack.markdown import Cut, Pager, clipped

FIELD_LIMIT = 256
"""Characters in each text of a task card."""

Card = dict[str, Json]
"""A `task_update` chunk: https://docs.slack.dev/reference/methods/chat.appendStream"""

Item = str | Cut | Card

_STATUS = {"started": "in_progress", "finished": "complete", "failed": "error"}


class Renderer:
    """What is to be shown of one answer.

    `files` are still to be shown.
    """

    def __init__(self) -> None:
        self.files: list[File] = []
        self._pager = Pager()
        self._items: list[Item] = []
        self._size = 0
        self._titles: dict[str, str] = {}
        self._told: set[str] = set()

    def add(self, part: Part) -> None:
        """Take the next part."""
        match part:
            case Text(text):
                self._queue(self._pager.feed(text))
            case Notice(text):
                self._queue(self._pager.paragraph(text))
            case ToolStep():
                self._queue([*self._pager.flush(), self._card(part)])
            case File():  # a message of its own: see bot.slack.uploads
                self._queue(self._pager.flush())
                self.files.append(part)

    def finish(self) -> None:
        """There are no more parts: nothing is kept back any longer."""
        self._queue(self._pager.flush())

    def take(self) -> list[Item]:
        """What was not taken before, in order."""
        items, self._items, self._size = self._items, [], 0
        return items

    @property
    def rendered(self) -> str:
        """All of its text so far, as `paginate` takes it."""
        return "".join(self._pager.source)

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._items)

    @property
    def waiting_size(self) -> int:
        """Characters to take; a card counts as many."""
        return self._size

    def cut_soon(self) -> None:
        """Let the message end at the next place that breaks no word and no line of code."""
        self._pager.cut_soon()

    def cut(self) -> Cut:
        """Let the message end after what was taken."""
        return self._pager.cut()

    def outline(self) -> str:
        """The steps as a list, for an answer that has no text."""
        return "\n".join(f"- {title}" for title in self._titles.values())

    def _queue(self, items: Iterable[Item]) -> None:
        for item in items:
            self._items.append(item)
            self._size += len(item) if isinstance(item, str) else FIELD_LIMIT

    def _card(self, step: ToolStep) -> Card:
        # when a card comes again, Slack replaces its title and status but appends to its output
        self._titles[step.id] = title = clipped(step.title or step.name, FIELD_LIMIT)
        card: Card = {"type": "task_update", "id": step.id, "title": title, "status": _STATUS[step.state]}
        if step.output and step.id not in self._told:
            self._told.add(step.id)
            card["output"] = clipped(step.output, FIELD_LIMIT)
        return card
