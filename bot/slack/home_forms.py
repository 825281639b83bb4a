"""The form for feedback about the bot, which the Home tab opens. Pure.

https://docs.slack.dev/surfaces/modals
"""

from collections.abc import Mapping
from typing import cast

from bot.chat import Json, Vote
from bot.commands import home_texts as texts
from bot.commands.answers import MOST_REASON
from bot.slack.block_text import word

FORM = "home-feedback"
"""The `callback_id` of the form."""

_RATING, WORDS = "rating", "words"
"""Inputs of the form."""


def is_feedback(body: Mapping[str, Json]) -> bool:
    """Return whether a payload of Slack submits the form."""
    view = body.get("view") or {}
    return body.get("type") == "view_submission" and view.get("callback_id") == FORM


def feedback_form(home: str) -> Json:
    """Return the form; `home` is the private metadata of the tab that is shown again afterwards."""
    rating = {
        "type": "radio_buttons",
        "action_id": _RATING,
        "options": [_option("up", texts.FORM_GOOD), _option("down", texts.FORM_BAD)],
    }
    words = {
        "type": "plain_text_input",
        "action_id": WORDS,
        "multiline": True,
        "max_length": MOST_REASON,
    }
    return {
        "type": "modal",
        "callback_id": FORM,
        "private_metadata": home,
        "title": _plain(texts.FORM),
        "submit": _plain(texts.FORM_SEND),
        "close": _plain(texts.FORM_CANCEL),
        "blocks": [
            {"type": "input", "block_id": _RATING, "label": _plain(texts.FORM_RATING), "element": rating},
            {"type": "input", "block_id": WORDS, "label": _plain(texts.FORM_WORDS), "element": words},
        ],
    }


def feedback_in(view: Mapping[str, Json]) -> tuple[Vote, str]:
    """Return the rating and the words of a submitted form. Raises `LookupError` or `TypeError`."""
    values = view["state"]["values"]
    rating = word((values[_RATING][_RATING].get("selected_option") or {}).get("value"))
    vote = cast("Vote", rating if rating in ("up", "down") else "down")
    return vote, word(values[WORDS][WORDS].get("value"))


def _option(value: str, label: str) -> Json:
    return {"text": _plain(label), "value": value}


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}
