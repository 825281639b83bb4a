"""Renderer of an answer for Slack: parts in; text, cuts and task cards out. Pure."""

from collections.abc import Collection, Iterable

from bot.chat import Artifact, File, Json, Notice, Part, Table, Text, ToolStep
from bot.slack.markdown import PageBreak, Pager, clip
from bot.slack.texts import INTERRUPTED

FIELD_LIMIT = 256
"""Characters in each text of a task card."""

Card = dict[str, Json]
"""A `task_update` chunk: https://docs.slack.dev/reference/methods/chat.appendStream"""

Item = str | PageBreak | Card

_STATUS = {"started": "in_progress", "finished": "complete", "failed": "error"}

_ACTIVITY_LIMIT = 80


class Renderer:
    """Renderer of one answer; `artifacts` are still to be shown, `files` those of them that are uploaded."""

    def __init__(self) -> None:
        self.artifacts: list[Artifact] = []
        self.files: list[File] = []
        self._pager = Pager()
        self._items: list[Item] = []
        self._size = 0
        self._grown = 0  # characters of the text since the items were taken
        self._steps: dict[str, ToolStep] = {}
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
                self._queue([*self._pager.flush(), self._update(part)])
            case Table() | File():  # shown in separate messages by bot.slack.artifacts
                self._queue(self._pager.flush())
                self.artifacts.append(part)

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

    @property
    def ongoing(self) -> str:
        """Return what the running steps do, or an empty string if none is running."""
        running = [step for step in self._steps.values() if step.state == "started"]
        if not running:
            return ""
        more = f" (+{len(running) - 1} more)" if len(running) > 1 else ""
        return clip(running[0].ongoing, _ACTIVITY_LIMIT) + more

    def closing_cards(self, *, with_ended: bool) -> list[Card]:
        """Return the cards that an attempt which has died may have left open, as ended.

        It may have shown the end of a step, too: Slack would show a second output after the first one.
        """
        interrupted = {"status": "error", "output": INTERRUPTED}
        return [
            _card(step) | (interrupted if step.state == "started" else {})
            for step in self._steps.values()
            if with_ended or step.state == "started"
        ]

    def outline(self, ids: Collection[str] | None = None) -> str:
        """Return the steps as a list, all of them or those with these ids, for a message without text."""
        steps = [step for step in self._steps.values() if ids is None or step.id in ids]
        shown = [(_title(step), clip(step.outcome, FIELD_LIMIT)) for step in steps]
        return "\n".join(f"- {title}: {outcome}" if outcome else f"- {title}" for title, outcome in shown)

    def _queue(self, items: Iterable[Item]) -> None:
        for item in items:
            self._items.append(item)
            self._size += len(item) if isinstance(item, str) else FIELD_LIMIT

    def _update(self, step: ToolStep) -> Card:
        # when a card is sent again, Slack replaces its title and status but appends to its output
        self._steps[step.id] = step
        card = _card(step)
        if step.outcome and step.id not in self._announced:
            self._announced.add(step.id)
            card["output"] = clip(step.outcome, FIELD_LIMIT)
        return card


def _card(step: ToolStep) -> Card:
    return {"type": "task_update", "id": step.id, "title": _title(step), "status": _STATUS[step.state]}


def _title(step: ToolStep) -> str:
    return clip(step.title or step.name, FIELD_LIMIT)
