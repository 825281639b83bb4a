"""Drawing of a conversation on Slack."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.gallery import frame
from tests.gallery.charts import draw_chart
from tests.gallery.markup import Names, mrkdwn, rich_text, slack_markdown
from tests.servers.slack.service import Message, Modal, Slack
from tests.servers.slack.workspace import Ephemeral

Json = Any

_MARKS = {"in_progress": "⏳", "complete": "✅", "error": "⚠️", "pending": "○"}
_TAG = '<span class=time style="background:#eee;padding:0 3px">APP</span> '


class SlackDrawing:
    """Picture of one conversation, from what the server received."""

    def __init__(self, slack: Slack) -> None:
        self._slack = slack
        self._names: Names = {id: name.title() for id, name in slack.workspace.users.items()}

    def conversation(self, channel: str, root: str, *, since: float = 0) -> str:
        """Return a thread with what only one user has seen there since a time."""
        messages = [each for each in self._slack.messages(channel) if each.root == root]
        is_direct = self._slack.workspace.channels[channel].kind == "im"
        parts = [frame.rule("Direct message" if is_direct else "# general"), self._message(messages[0])]
        parts += [frame.rule("Thread")] if messages[1:] else []
        private = [(each.at, self._private(each)) for each in self._slack.ephemerals if each.at >= since]
        shown = [(each.history[0].at, self._message(each)) for each in messages[1:]]
        parts += [drawn for _, drawn in sorted([*shown, *private])]
        parts += [self._modal(each) for each in self._slack.modals if each.is_open]
        return frame.page("slack", parts)

    def home(self, view: Mapping[str, Json]) -> str:
        """Return a Home tab."""
        return frame.page("slack", [frame.rule("Agent · Home"), *map(self._block, view["blocks"])])

    def _message(self, message: Message) -> str:
        files = "".join(frame.file(each.name, each.mimetype, each.data or b"") for each in message.files)
        tag = _TAG if message.from_bot else ""
        edited = " <span class=time>(edited)</span>" if message.edited and not message.from_bot else ""
        body = "".join(self._pieces(message)) + edited + files
        return frame.message(self._names[message.user], "10:42", body, tag=tag)

    def _pieces(self, message: Message) -> Iterator[str]:
        """Yield the text with its cards in their order, and the blocks, which replace a posted text."""
        is_stream = message.streaming_state is not None and not message.edited
        if not message.from_bot:
            yield mrkdwn(message.text, self._names)
        elif is_stream:
            yield from self._stream(message)
        elif not message.blocks:
            yield slack_markdown(message.text, self._names)
        yield from map(self._block, message.blocks)

    def _stream(self, message: Message) -> Iterator[str]:
        text, drawn = "", set[str]()
        if message.plan:
            yield f"<div class=title>{html.escape(message.plan)}</div>"
        said = sum(len(each["text"]) for each in message.chunks if each["type"] == "markdown_text")
        text = message.text[: len(message.text) - said]
        for chunk in message.chunks:
            if chunk["type"] == "markdown_text":
                text += chunk["text"]
            elif chunk["type"] == "task_update" and chunk["id"] not in drawn:
                yield slack_markdown(text, self._names)
                yield _task(message.tasks[chunk["id"]])
                drawn.add(chunk["id"])
                text = ""
        yield slack_markdown(text, self._names)

    def _private(self, shown: Ephemeral) -> str:
        body = "".join(map(self._block, shown.blocks)) or mrkdwn(shown.text, self._names)
        note = f"Only visible to {self._names[shown.user]}"
        return frame.message("Agent", "10:42", body, tag=_TAG, note=note)

    def _modal(self, modal: Modal) -> str:
        title = html.escape(modal.view["title"]["text"])
        blocks = "".join(map(self._block, modal.view["blocks"]))
        ends = [(modal.view.get(name, {}).get("text"), style) for name, style in _ENDS]
        shown = frame.buttons([(text, style) for text, style in ends if text])
        return f"<div class=box><div class=title>{title}</div><hr>{blocks}{shown}</div>"

    def _block(self, block: Json) -> str:
        match block["type"]:
            case "section":
                fields = "<br>".join(self._text(each) for each in block.get("fields", []))
                beside = self._elements([block["accessory"]]) if block.get("accessory") else ""
                return f"<p>{self._text(block.get('text'))}{fields}</p>{beside}"
            case "header":
                return f"<h2>{self._text(block['text'])}</h2>"
            case "divider":
                return "<hr>"
            case "context":
                return f"<div class=context>{' '.join(map(self._text, block['elements']))}</div>"
            case "actions" | "context_actions":
                return self._elements(block["elements"])
            case "markdown":
                return slack_markdown(block["text"], self._names)
            case "rich_text":
                return "".join(rich_text(each, self._names) for each in block["elements"])
            case "table" | "data_table":
                return _table(block)
            case "data_visualization":
                return draw_chart(block)
            case "input":
                initial = html.escape(block["element"].get("initial_value", ""))
                return f"<b>{self._text(block['label'])}</b><div class=field>{initial}</div>"
            case kind:
                return f"<p class=context>[{kind}]</p>"

    def _text(self, text: Json) -> str:
        if not text or "text" not in text:
            return ""
        is_markup = text["type"] == "mrkdwn"
        return (
            mrkdwn(text["text"], self._names)
            if is_markup
            else html.escape(text["text"]).replace("\n", "<br>")
        )

    def _elements(self, elements: Sequence[Json]) -> str:
        labels: list[tuple[str, str]] = []
        for each in elements:
            if each["type"] == "feedback_buttons":
                labels += [("👍", ""), ("👎", "")]
            elif each["type"] == "button":
                labels.append((each["text"]["text"], each.get("style", "")))
            else:
                labels.append((each.get("placeholder", {}).get("text", "…") + " ▾", ""))
        return frame.buttons(labels)


_ENDS = (("close", ""), ("submit", "primary"))


def _task(task: Mapping[str, Json]) -> str:
    mark = _MARKS[task["status"]]
    output = f"<div>{html.escape(task['output'])}</div>" if task.get("output") else ""
    return f"<div class=task>{mark} {html.escape(task['title'])}{output}</div>"


def _table(block: Json) -> str:
    rows: list[str] = []
    for number, row in enumerate(block["rows"]):
        tag = "td" if number else "th"
        cells = [
            f'<{tag} class="{"number" if each["type"] == "raw_number" else ""}">'
            f"{html.escape(str(each.get('text', '')))}</{tag}>"
            for each in row
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    title = html.escape(block.get("caption", ""))
    return f"<div class=title>{title}</div><table>{''.join(rows)}</table>"
