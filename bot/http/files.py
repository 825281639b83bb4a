"""Files of answers (`GET /files/<id>`) and of callers. A browser is to run nothing of what they hold."""

import base64
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated
from urllib.parse import quote

from aiohttp import hdrs, web
from pydantic import BaseModel, StringConstraints

from bot.chat import Attachment, File, FileRefused, Files, FileTooLarge, Json
from bot.http.errors import Refusal

_SHOWN = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
"""What a browser may show in place; all else is to be saved."""

_KEPT = "file:"
"""Begins the address of an attachment whose content is with the files of answers."""

_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"


def described(file: File) -> dict[str, Json]:
    """A file as callers see it, with where to get it."""
    return asdict(file) | {"url": f"/files/{file.id}"}


class SentFile(BaseModel):
    """A file in the body of `POST /chat`."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    media_type: Annotated[str, StringConstraints(max_length=100)] = "application/octet-stream"
    content_base64: str


async def keep_sent(files: Files, sent: Sequence[SentFile]) -> tuple[Attachment, ...]:
    """Keep what a caller sends along until its turn comes. Raises `Refusal` (400, 413)."""
    return tuple([await _keep_one(files, each) for each in sent])


async def _keep_one(files: Files, sent: SentFile) -> Attachment:
    try:
        content = base64.b64decode(sent.content_base64, validate=True)
    except ValueError as error:
        raise Refusal(400, f"files: the content of {sent.name} is not base64.") from error
    try:
        file = await files.keep(sent.name, sent.media_type, content)
    except FileTooLarge as error:
        raise Refusal(413, f"files: {error}.") from error
    return Attachment(name=file.name, media_type=file.media_type, size=file.size, url=_KEPT + file.id)


async def read_kept(files: Files, attachment: Attachment) -> bytes:
    """What `keep_sent` kept. Raises `FileRefused`."""
    found = await files.find(attachment.url.removeprefix(_KEPT))
    if found is None:
        raise FileRefused("it is no longer kept; send it again")
    return found[1]


async def send(files: Files, request: web.Request) -> web.Response:
    """Handle `GET /files/<id>`."""
    found = await files.find(request.match_info["id"])
    if found is None:
        raise web.HTTPNotFound
    file, content = found
    is_shown = file.media_type in _SHOWN
    response = web.Response(
        body=content, content_type=file.media_type if is_shown else "application/octet-stream"
    )
    name = quote(file.name, safe="")
    disposition = "inline" if is_shown else "attachment"
    response.headers[hdrs.CONTENT_DISPOSITION] = f"{disposition}; filename*=UTF-8''{name}"
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers[hdrs.CACHE_CONTROL] = "private, max-age=3600, immutable"
    return response
