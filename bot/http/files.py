"""Files of answers (`GET /files/<id>`) and of callers, served so that a browser never executes them."""

import asyncio
import base64
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated
from urllib.parse import quote

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from bot.chat import Attachment, File, FileRefused, Files, FileTooLarge, Json, Table
from bot.http import texts
from bot.http.errors import Refusal
from bot.http.replies import table_text
from bot.platforms.table_text import caption, exact_number

_SHOWN = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
"""Media types that a browser may show inline; all others are downloads."""

_KEPT = "file:"
"""URL prefix of an attachment whose content is in the file store."""

_PIECE = 1 << 18
"""Characters of base64 that are decoded at once; a multiple of four."""

_BASE64 = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))

_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"


def to_json(file: File) -> dict[str, Json]:
    """Return a file as JSON with its URL; the picture of a chart says so, as far as it is known."""
    chart: dict[str, Json] = {"is_chart": True} if file.chart else {}
    return file.to_json() | chart | {"url": f"/files/{file.id}"}


def table_json(table: Table) -> dict[str, Json]:
    """Return a table as JSON: numbers are numbers if JSON represents them exactly; `text` is Markdown."""
    are_numbers = [column.is_number for column in table.columns]
    rows = [
        [_value(value, is_number=each) for value, each in zip(row, are_numbers, strict=True)]
        for row in table.rows
    ]
    return {
        "id": table.id,
        "title": table.title,
        "columns": [
            {"name": column.name, "type": "number" if column.is_number else "text"}
            for column in table.columns
        ],
        "rows": rows,
        "total": table.total,
        "total_columns": table.total_columns,
        "has_more": table.has_more,
        "caption": caption(table, len(table.rows)),
        "file": to_json(table.file),
        "text": table_text(table),
    }


def _value(value: str | None, *, is_number: bool) -> Json:
    number = exact_number(value) if is_number else None
    return value if number is None else number


class SentFile(BaseModel):
    """File in the body of `POST /chat`."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    media_type: Annotated[str, StringConstraints(max_length=100)] = "application/octet-stream"
    content_base64: str


async def store_files(files: Files, uploads: Sequence[SentFile]) -> tuple[Attachment, ...]:
    """Store a caller's files until its turn runs. Raises `Refusal` (400, 413)."""
    return tuple([await _store_file(files, each) for each in uploads])


async def _store_file(files: Files, upload: SentFile) -> Attachment:
    try:
        content = await asyncio.to_thread(_decode, upload.content_base64)
    except ValueError as error:
        raise Refusal(400, texts.not_base64(upload.name)) from error
    try:
        file = await files.keep(upload.name, upload.media_type, content)
    except FileTooLarge as error:
        raise Refusal(413, texts.not_kept(str(error))) from error
    return Attachment(name=file.name, media_type=file.media_type, size=file.size, url=_KEPT + file.id)


def _decode(text: str) -> bytes:
    """Decode a file piece by piece: a call does not release the interpreter lock before its end."""
    pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
    return b"".join(map(_decode_piece, pieces))


def _decode_piece(piece: str) -> bytes:
    """Decode strictly. Raises `ValueError`.

    pydantic needs a fifth of the time, but lets an unusual alphabet and missing padding pass; the standard
    library decides about these, and about what pydantic refuses.
    """
    if len(piece) % 4 == 0 and "-" not in piece and "_" not in piece:
        with suppress(ValidationError):
            return _BASE64.validate_strings(piece)
    return base64.b64decode(piece, validate=True)


async def read_file(files: Files, attachment: Attachment) -> bytes:
    """Return the content of a file that `store_files` stored. Raises `FileRefused`."""
    found = await files.find(attachment.url.removeprefix(_KEPT))
    if found is None:
        raise FileRefused(texts.FILE_EXPIRED)
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
