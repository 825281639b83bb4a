"""The form for the settings of a channel on Slack. Pure.

https://docs.slack.dev/surfaces/modals
"""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple, cast

from bot.chat import Json
from bot.chat.text import shorten
from bot.commands import channel_texts as texts
from bot.commands.channel import MOST_INSTRUCTIONS, ChannelForm, FormField
from bot.slack.block_text import word
from bot.slack.markdown import clip
from bot.slack.mrkdwn import mrkdwn

FORM = "agent-channel-settings"
"""The `callback_id` of the form."""

_DEFAULT = "default"
_MOST_TEXT = 3_000
_MOST_OPTION = 75
_CHANNEL = re.compile(r"[CDG][A-Z0-9]{1,20}")


class FormPlace(NamedTuple):
    """Channel of a form; `home` is the private metadata of the Home tab where it was opened, else empty."""

    channel: str
    home: str = ""

    def dump(self) -> str:
        """Return the place as Slack keeps it with the form."""
        return json.dumps(self)


def load_place(view: Mapping[str, Json]) -> FormPlace:
    """Return the place of a submitted form. Raises `ValueError` or `TypeError`."""
    channel, home = json.loads(word(view.get("private_metadata")))
    return FormPlace(word(channel), word(home))


def is_channel(id: str) -> bool:
    """Return whether a text is the id of a channel."""
    return _CHANNEL.fullmatch(id) is not None


def channel_form(form: ChannelForm, place: FormPlace) -> Json:
    """Return the form; what is submitted is compared with what it shows, so that only changes are stored."""
    policies = [
        _option(_DEFAULT, f"{_DEFAULT}: {form.default_follow_up}"),
        *(_option(policy, f"{policy}: {words}") for policy, words in texts.POLICIES.items()),
    ]
    chosen = next((each for each in policies if each["value"] == form.follow_up), policies[0])
    instructions = {
        "type": "plain_text_input",
        "multiline": True,
        "max_length": MOST_INSTRUCTIONS,
        **({"initial_value": form.instructions} if form.instructions else {}),
    }
    follow_up = {"type": "static_select", "options": policies, "initial_option": chosen}
    reset = {"type": "checkboxes", "options": [_option("reset", texts.FORM_RESET_OPTION)]}
    others = {"type": "mrkdwn", "text": shorten(mrkdwn(form.others), _MOST_TEXT), "verbatim": True}
    return {
        "type": "modal",
        "callback_id": FORM,
        "private_metadata": place.dump(),
        "title": _plain(texts.FORM),
        "submit": _plain(texts.FORM_SEND),
        "close": _plain(texts.FORM_CANCEL),
        "blocks": [
            _input("instructions", texts.FORM_INSTRUCTIONS, instructions, optional=True),
            _input("follow-up", texts.FORM_FOLLOW_UP, follow_up),
            {"type": "section", "text": others},
            _input("reset", texts.FORM_RESET, reset, optional=True),
        ],
    }


def changes_in(view: Mapping[str, Json]) -> Mapping[FormField, str]:
    """Return the values that differ from those which the form has shown; `default` for an empty one.

    Raises `LookupError` or `TypeError` for a view of another form.
    """
    shown = {
        block["block_id"]: _shown(block["element"]) for block in view["blocks"] if block["type"] == "input"
    }
    typed = {name: _typed(values[name]) for name, values in view["state"]["values"].items()}
    return {
        cast(FormField, name): text.strip() or _DEFAULT
        for name, text in typed.items()
        if name in shown and text.strip() != shown[name].strip()
    }


def _shown(element: Mapping[str, Json]) -> str:
    return word(element.get("initial_value")) or word((element.get("initial_option") or {}).get("value"))


def _typed(state: Mapping[str, Json]) -> str:
    if chosen := state.get("selected_options"):
        return word(chosen[0].get("value"))
    return word(state.get("value")) or word((state.get("selected_option") or {}).get("value"))


def _input(field: FormField, label: str, element: Json, *, optional: bool = False) -> Json:
    return {
        "type": "input",
        "block_id": field,
        "label": _plain(label),
        "element": element | {"action_id": field},
        "optional": optional,
    }


def _option(value: str, label: str) -> Json:
    return {"text": _plain(clip(label, _MOST_OPTION)), "value": value}


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}
