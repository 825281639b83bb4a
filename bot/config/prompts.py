"""Suggested prompts, the value of SUGGESTED_PROMPTS. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from bot.chat import Prompt
from bot.chat.text import first_invisible

MOST_PROMPTS = 4
"""Most prompts that Slack takes."""

_MOST_TITLE, _MOST_MESSAGE = 75, 1_000
_FORM = 'write "title | message", separated by semicolons, or JSON: [{"title": "…", "message": "…"}]'


def parse_prompts(value: Any) -> Any:
    """Parse the prompts. Raises `ValueError` with the expected form."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    prompts = _from_json(text) if text.startswith("[") else [_from_words(each) for each in _entries(text)]
    if len(prompts) > MOST_PROMPTS:
        raise ValueError(f"use {MOST_PROMPTS} prompts at most, not {len(prompts)}")
    for each in prompts:
        _check(each)
    if len({each.title for each in prompts}) < len(prompts):
        raise ValueError("give each prompt another title")
    return tuple(prompts)


def _entries(text: str) -> Sequence[str]:
    return [each for line in text.splitlines() for each in line.split(";") if each.strip()]


def _from_words(entry: str) -> Prompt:
    title, bar, message = entry.partition("|")
    return Prompt(title.strip(), (message if bar else title).strip())


def _from_json(text: str) -> Sequence[Prompt]:
    try:
        return [Prompt(str(each["title"]).strip(), str(each["message"]).strip()) for each in json.loads(text)]
    except (LookupError, RecursionError, TypeError, ValueError):
        raise ValueError(_FORM) from None


def _check(prompt: Prompt) -> None:
    if not prompt.title or not prompt.message:
        raise ValueError(f"a prompt needs a title and a message: {_FORM}")
    if len(prompt.title) > _MOST_TITLE or len(prompt.message) > _MOST_MESSAGE:
        raise ValueError(
            f"use {_MOST_TITLE} characters at most for a title, and {_MOST_MESSAGE:,} for a message"
        )
    if first_invisible("".join(prompt)):
        raise ValueError("remove the invisible characters")
