"""Buttons below an answer on Slack, and the form for a reason. Pure.

https://docs.slack.dev/reference/block-kit/blocks/context-actions-block and
https://docs.slack.dev/surfaces/modals
"""

import html
from collections.abc import Sequence

from bot.chat import AnswerButtons, Json
from bot.commands import answer_texts
from bot.commands.answers import MOST_REASON
from bot.platforms.answers import DETAILS, RATE, REASON, REGENERATE
from bot.slack.markdown import clip

_MOST_SUMMARY = 3_000
"""Most characters of the text that stands for a message with blocks in notifications."""


def button_blocks(buttons: AnswerButtons) -> list[Json]:
    """Return the blocks with the buttons of an answer; none if it has no buttons."""
    if not buttons.answer:
        return []
    actions = {
        "type": "actions",
        "elements": [
            _button(REGENERATE, answer_texts.REGENERATE, buttons.answer),
            _button(DETAILS, answer_texts.DETAILS, buttons.answer),
        ],
    }
    if not buttons.can_be_rated:
        return [actions]
    feedback = {
        "type": "feedback_buttons",
        "action_id": RATE,
        "positive_button": _choice(answer_texts.GOOD, f"up:{buttons.answer}"),
        "negative_button": _choice(answer_texts.BAD, f"down:{buttons.answer}"),
    }
    return [{"type": "context_actions", "elements": [feedback]}, actions]


def _button(action: str, text: str, answer: str) -> Json:
    return {"type": "button", "action_id": action, "text": _plain(text), "value": answer}


def _choice(text: str, value: str) -> Json:
    return {"text": _plain(text), "accessibility_label": text, "value": value}


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def content(text: str, buttons: Sequence[Json]) -> dict[str, Json]:
    """Return the arguments that show a page of an answer, with buttons below it if there are any.

    Slack takes no blocks beside `markdown_text`.
    """
    if not buttons:
        return {"markdown_text": text}
    summary = html.escape(clip(text, _MOST_SUMMARY), quote=False)
    return {"text": summary[:_MOST_SUMMARY], "blocks": [{"type": "markdown", "text": text}, *buttons]}


def reason_form(answer: str) -> Json:
    """Return the form for the reason of a vote against an answer."""
    reason = {
        "type": "plain_text_input",
        "action_id": REASON,
        "multiline": True,
        "max_length": MOST_REASON,
    }
    return {
        "type": "modal",
        "callback_id": REASON,
        "private_metadata": answer,
        "title": _plain(answer_texts.FORM),
        "submit": _plain(answer_texts.FORM_SEND),
        "close": _plain(answer_texts.FORM_CANCEL),
        "blocks": [
            {
                "type": "input",
                "block_id": REASON,
                "label": _plain(answer_texts.FORM_REASON),
                "element": reason,
            }
        ],
    }
