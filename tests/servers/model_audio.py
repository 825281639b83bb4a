"""`POST /v1/audio/transcriptions` of the model service.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

Json = Any

FORMATS = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm")
LIMIT = 25 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Recording that was sent."""

    name: str
    model: str
    data: bytes


@dataclass(slots=True)
class Audio:
    """Transcriptions: `answers` are returned in order, then `text`; a number is refused with that status."""

    text: str = "hello there"
    usage: Json = None
    recordings: list[Recording] = field(default_factory=list)
    answers: deque[str | int | bytes] = field(default_factory=deque)

    async def transcribe(self, request: web.Request) -> tuple[web.Response, str]:
        """Return the response, and a violation if the request was malformed."""
        fields: dict[str, Any] = {}
        name = ""
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            fields[part.name or ""] = await part.read()
            name = part.filename or name
        problem = _refusal(fields, name)
        if problem:
            return _error(400, problem), problem
        self.recordings.append(
            Recording(name=name, model=fields["model"].decode(), data=bytes(fields["file"]))
        )
        answer = self.answers.popleft() if self.answers else self.text
        if isinstance(answer, int):
            return _error(answer, "scripted fault"), ""
        if isinstance(answer, bytes):
            return web.Response(body=answer), ""
        return web.json_response({"text": answer, **({"usage": self.usage} if self.usage else {})}), ""


def _refusal(fields: dict[str, Any], name: str) -> str:
    if not fields.get("model") or not fields.get("file"):
        return "you must provide a model and a file"
    if unknown := fields.keys() - {"file", "model", "response_format", "language", "prompt", "temperature"}:
        return f"unknown fields {sorted(unknown)}"
    if fields.get("response_format", b"json") != b"json":
        return "response_format is not compatible with this model"
    if name.rpartition(".")[2] not in FORMATS:
        return f"Unrecognized file format. Supported formats: {FORMATS}"
    return "Maximum content size limit exceeded" if len(fields["file"]) > LIMIT else ""


def _error(status: int, message: str) -> web.Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return web.json_response(body, status=status)
