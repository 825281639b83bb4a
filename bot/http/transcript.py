"""Transcript of a conversation: what is stored of each question and answer, and how a caller reads it."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bot.chat import Json, Message, Part, Transcript, Turn
from bot.chat.text import shorten
from bot.chat.texts import STOPPED
from bot.http import texts
from bot.http.part_json import part_json

_MOST_TEXT = 40_000
"""Most characters of one answer that its conversation keeps; whoever waits for it gets all of it."""

_MOST_OUTPUT = 1_000
_MOST_KEPT = 200
_MOST_ENTRY = 100_000
"""Most characters of an entry; above that, tables lose their rows and steps their output."""

_ARRIVAL_SECONDS = 60
"""Seconds after which a question that no turn has is taken for lost."""

_REQUESTS = ("approval", "question")


def question_entry(message: Message) -> str:
    """Return what is stored of a question."""
    files = [
        {"name": each.name, "media_type": each.media_type, "size": each.size} for each in message.attachments
    ]
    return json.dumps({"at": message.sent_at, "text": message.text, "files": files})


def answer_entry(turn: Turn, parts: Iterable[Part], state: Mapping[str, Json], reader: str) -> str:
    """Return what is stored of an answer; `state` is that of its finished receipt."""
    failure = state.get("failure")
    has_stopped = state.get("ending") == STOPPED
    entry: dict[str, Json] = {
        "at": time.time(),
        "turn": turn.id,
        "messages": [each.corrects or each.id for each in turn.messages],
        "regenerates": turn.regenerates,
        "state": "failed" if failure else "stopped" if has_stopped else "complete",
        **({"error": failure["text"]} if failure else {}),
        "parts": [],
    }
    for name, data in _joined(parts, reader):
        if name == "buttons":
            entry["buttons"] = data
        else:
            entry["parts"].append({"type": name, **data})
    entry["parts"] = _bounded(entry["parts"])
    return json.dumps(entry)


def _joined(parts: Iterable[Part], reader: str) -> list[tuple[str, dict[str, Json]]]:
    """Return the parts as JSON: neighbouring texts are one, and of a step its last state stays."""
    found: list[tuple[str, dict[str, Json]]] = []
    steps: dict[str, int] = {}
    texts_of_last: list[str] = []
    for part in parts:
        if (shown := part_json(part, reader)) is None:
            continue
        name, data = shown
        if name == "text" and found and found[-1][0] == "text":
            texts_of_last.append(data["text"])
            continue
        if texts_of_last:
            found[-1][1]["text"] += "".join(texts_of_last)
            texts_of_last = []
        if name == "tool" and data["id"] in steps:
            found[steps[data["id"]]] = shown
            continue
        if name == "tool":
            steps[data["id"]] = len(found)
        found.append(shown)
    if texts_of_last:
        found[-1][1]["text"] += "".join(texts_of_last)
    return found


def _bounded(parts: Sequence[dict[str, Json]]) -> list[Json]:
    """Return the parts with so much of their texts that one answer cannot fill the store."""
    left, kept = _MOST_TEXT, list[dict[str, Json]]()
    for part in parts[:_MOST_KEPT]:
        if part["type"] == "text":
            part = {**part, "text": shorten(part["text"], max(left, 1))}
            left -= len(part["text"])
        elif part["type"] == "tool":
            part = {**part, "output": shorten(part["output"], _MOST_OUTPUT)}
        kept.append(part)
    if sum(len(json.dumps(part)) for part in kept) > _MOST_ENTRY:
        kept = [_without_rows(part) for part in kept]
    return kept


def _without_rows(part: dict[str, Json]) -> dict[str, Json]:
    """Return a part without what is large; the file of a table has all of its rows."""
    if part["type"] == "table":
        return {"type": "file", **part["file"]}
    return {**part, "output": ""} if part["type"] == "tool" else part


def messages(found: Transcript, *, is_active: bool, now: float) -> list[dict[str, Json]]:
    """Return the questions and answers of a conversation in their order.

    `is_active` says whether something waited or was being answered before the conversation was read.
    """
    questions = {id: json.loads(text) for id, text in found.questions.items()}
    answers = sorted(map(json.loads, found.answers.values()), key=lambda each: float(each["at"]))
    standing = _standing(answers)
    asked = sorted(questions.items(), key=lambda each: float(each[1]["at"]))
    decided = [each for anchor, each in standing.items() if anchor not in questions]
    is_answered = {id for each in answers for id in each["messages"]}
    shown: list[dict[str, Json]] = []
    for id, question in asked:
        shown += [_answer(each) for each in decided if each["at"] <= question["at"]]
        decided = [each for each in decided if each["at"] > question["at"]]
        shown.append({"role": "user", "id": id, **question})
        if answer := standing.get(id):
            shown.append(_answer(answer))
        elif id not in is_answered:
            shown.append(_unanswered(is_active=is_active or now - question["at"] < _ARRIVAL_SECONDS))
    shown += [_answer(each) for each in decided]
    _decide(shown)
    return shown


def _standing(answers: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the answers that stand, by the question below which they are shown.

    A failed attempt at another answer leaves the earlier one.
    """
    anchors: dict[str, str] = {}
    standing: dict[str, Mapping[str, Any]] = {}
    for each in answers:
        anchor = each["messages"][-1]
        if each["regenerates"]:
            anchor = anchors.get(each["regenerates"], each["regenerates"])
            if each["state"] == "failed" and anchor in standing:
                continue
        anchors[each["turn"]] = anchor
        standing[anchor] = each
    return standing


def _answer(entry: Mapping[str, Any]) -> dict[str, Json]:
    buttons = entry.get("buttons") or {}
    is_waiting = any(each["type"] in _REQUESTS and each["state"] == "asked" for each in entry["parts"])
    return {
        "role": "agent",
        "at": entry["at"],
        "state": "waiting" if is_waiting and entry["state"] == "complete" else entry["state"],
        "answer": buttons.get("answer", ""),
        "can_be_rated": bool(buttons.get("can_be_rated")),
        "error": entry.get("error", ""),
        "response": "".join(_words(entry["parts"])).strip(),
        "parts": entry["parts"],
    }


def _unanswered(*, is_active: bool) -> dict[str, Json]:
    state, error = ("running", "") if is_active else ("failed", texts.NOT_ANSWERED)
    nothing: dict[str, Json] = {"answer": "", "can_be_rated": False, "response": "", "parts": []}
    return {"role": "agent", "at": 0.0, "state": state, "error": error, **nothing}


def _words(parts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for part in parts:
        if part["type"] == "text":
            yield part["text"]
        elif part["type"] in ("notice", "table", *_REQUESTS):
            yield f"\n\n{part['text']}\n\n"


def _decide(shown: Sequence[dict[str, Json]]) -> None:
    """Show the decision of each request also where it was made, and no buttons there."""
    decided = {
        part["id"]: part
        for message in shown
        for part in message.get("parts", ())
        if part["type"] in _REQUESTS and part["state"] != "asked"
    }
    for message in shown:
        for part in message.get("parts", ()):
            if part["type"] in _REQUESTS and part["id"] in decided:
                part |= {name: decided[part["id"]][name] for name in ("state", "text")}
        parts = message.get("parts", ())
        if message.get("state") == "waiting" and not any(
            each["type"] in _REQUESTS and each["state"] == "asked" for each in parts
        ):
            message["state"] = "complete"
