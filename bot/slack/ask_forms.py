"""The form of the shortcuts on Slack, and what it keeps of the message that it is about. Pure.

https://docs.slack.dev/interactivity/implementing-shortcuts and https://docs.slack.dev/surfaces/modals
"""

import html
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.chat import Attachment, Json, Quote, Turn, harmless
from bot.commands import ask_texts as texts
from bot.slack.block_text import objects, word
from bot.slack.content import FILE_ID, content_of
from bot.slack.events import moment
from bot.slack.markdown import clip
from bot.slack.page import Extra
from bot.slack.slash_commands import ASK

SHORTCUT = "shortcut"
"""Key of a message's `place`: the id of the question that its answer shows first. A decision keeps it."""

_QUESTION, _FILES = "question", "files"
_MOST_QUESTION = 3_000
_MOST_METADATA = 3_000
_MOST_FILES = 5
_MOST_NAME = 60


@dataclass(frozen=True, slots=True)
class Subject:
    """Content of a form beside the question; `asked_ts` makes its id, the same however often it is sent.

    With a message in a channel: where it is, the beginning of its text, and names of its files by id.
    """

    asked_ts: str
    channel: str = ""
    ts: str = ""
    thread_ts: str = ""
    text: str = ""
    files: Mapping[str, str] | None = None

    @property
    def quotes(self) -> tuple[Quote, ...]:
        """Return the message as a quote: it is data, and no command."""
        return (Quote(source=texts.SUBJECT, text=self.text),) if self.text else ()

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Return the message's files, which `files.info` describes when they are read."""
        return _attachments(self.files or {})

    def dump(self) -> str:
        """Return the subject as Slack keeps it with the form; a long text is cut until it fits."""
        fields = [self.asked_ts, self.channel, self.ts, self.thread_ts, self.text, dict(self.files or {})]
        stored = json.dumps(fields, ensure_ascii=False)
        if len(stored) <= _MOST_METADATA:
            return stored
        return replace(self, text=self.text[: len(self.text) // 2] + "…").dump()


def load_subject(stored: str) -> Subject:
    """Return the subject from the result of `dump`. Raises `ValueError` or `TypeError`."""
    return Subject(*json.loads(stored))


def subject_of(body: Mapping[str, Json], bot_user_id: str) -> Subject:
    """Return the subject of a shortcut's payload: the message that it was used on, if there is one."""
    # by Slack's clock, like the messages after it; an id of this form is that of no message
    asked_ts = word(body.get("action_ts")) if moment(body.get("action_ts")) else f"{time.time():.6f}"
    message = body.get("message")
    if not isinstance(message, dict):
        return Subject(asked_ts)
    ts = word(message.get("ts"))
    return Subject(
        asked_ts,
        word((body.get("channel") or {}).get("id")),
        ts,
        word(message.get("thread_ts")) or ts,
        content_of(message, bot_user_id).text[:_MOST_METADATA],
        _names_of_files(message.get("files")),
    )


def _names_of_files(listed: Json) -> dict[str, str]:
    files = [each for each in objects(listed) if word(each.get("id"))][:_MOST_FILES]
    return {word(each["id"]): word(each.get("name"))[:_MOST_NAME] or "file" for each in files}


def _attachments(files: Mapping[str, str]) -> tuple[Attachment, ...]:
    return tuple(
        [
            Attachment(name=name, media_type="application/octet-stream", size=0, url=FILE_ID + id)
            for id, name in files.items()
        ]
    )


def ask_form(subject: Subject, *, takes_files: bool) -> Json:
    """Return the form; a question about a message may be left out.

    `takes_files`: it has an input for files, for which Slack requires the scope `files:read`.
    """
    question = {
        "type": "plain_text_input",
        "action_id": _QUESTION,
        "multiline": True,
        "max_length": _MOST_QUESTION,
    }
    return {
        "type": "modal",
        "callback_id": ASK,
        "private_metadata": subject.dump(),
        "title": _plain(texts.ASK),
        "submit": _plain(texts.FORM_SEND),
        "close": _plain(texts.FORM_CANCEL),
        "blocks": [
            {
                "type": "input",
                "block_id": _QUESTION,
                "label": _plain(texts.FORM_QUESTION),
                "element": question,
                "optional": bool(subject.channel),
            },
            *([_FILE_INPUT] if takes_files else []),
        ],
    }


def question_in(view: Mapping[str, Json]) -> str:
    """Return what was typed into the form, or the question that stands for nothing."""
    typed = word(view["state"]["values"][_QUESTION][_QUESTION].get("value")).strip()
    return typed or texts.ABOUT


def files_in(view: Mapping[str, Json]) -> tuple[Attachment, ...]:
    """Return the files that were added in the form, which `files.info` describes when they are read."""
    typed = view["state"]["values"].get(_FILES) or {}
    return _attachments(_names_of_files((typed.get(_FILES) or {}).get("files")))


def form_error(sentence: str) -> dict[str, str]:
    """Return an error that Slack shows in the form, so that the question is not lost."""
    return {_QUESTION: sentence}


def question_blocks(user: str, question: str) -> Sequence[Json]:
    """Return a message that shows a question: nothing in it is markup, or looks like a request of the bot."""
    asked = {"type": "mrkdwn", "text": texts.asked(f"<@{user}>")}
    quote = {
        "type": "rich_text_quote",
        "elements": [{"type": "text", "text": clip(harmless(question), _MOST_QUESTION)}],
    }
    return [{"type": "context", "elements": [asked]}, {"type": "rich_text", "elements": [quote]}]


def questions_to_show(turn: Turn) -> Sequence[Extra]:
    """Return the questions of shortcuts in a turn, of which others would see only the answers."""
    return [
        Extra(
            f"question {each.id}", question_summary(each.text), question_blocks(each.place["user"], each.text)
        )
        for each in turn.messages
        if each.place.get(SHORTCUT) == each.id
    ]


def question_summary(question: str) -> str:
    """Return the text of that message in notifications."""
    return html.escape(clip(harmless(question), 200), quote=False)


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


_FILE_INPUT: Json = {
    "type": "input",
    "block_id": _FILES,
    "label": _plain(texts.FORM_FILES),
    "element": {"type": "file_input", "action_id": _FILES, "max_files": _MOST_FILES},
    "optional": True,
}
"""https://docs.slack.dev/reference/block-kit/block-elements/file-input-element"""
