"""Parts of an answer as JSON, for events and for transcripts."""

from dataclasses import asdict
from typing import assert_never

from bot.chat import (
    AnswerButtons,
    Approval,
    File,
    Json,
    Notice,
    OpenRequests,
    Part,
    Question,
    Table,
    Text,
    ToolStep,
)
from bot.http.files import table_json, to_json
from bot.http.replies import request_text


def part_json(part: Part, reader: str) -> tuple[str, dict[str, Json]] | None:
    """Return the type and the data of a part, or None if callers do not see it."""
    match part:
        case Text():
            return "text", {"text": part.text}
        case Notice():
            return None if part.status else ("notice", {"text": part.text})  # the end reports a failure
        case Approval():
            words = request_text(part, reader)
            return "approval", asdict(part) | {"text": words, "whole": words}
        case Question():
            return "question", asdict(part) | {"question": part.text, "text": request_text(part, reader)}
        case ToolStep():
            fields = asdict(part)
            unknown = {name for name in ("activity", "rows", "seconds") if fields[name] in ("", None)}
            return "tool", {name: fields[name] for name in fields.keys() - unknown}
        case Table():
            return "table", table_json(part)
        case File():
            return "file", to_json(part)
        case AnswerButtons():
            return "buttons", asdict(part)
        case OpenRequests():
            return None
        case _:
            assert_never(part)
