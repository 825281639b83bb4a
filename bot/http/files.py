"""`GET /files/<id>`: the files of answers. Their content is untrusted, so a browser is to run none of it."""

from dataclasses import asdict
from urllib.parse import quote

from aiohttp import hdrs, web

from bot.chat import File, Files, Json

_SHOWN = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
"""What a browser may show in place; all else is to be saved."""

_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"


def described(file: File) -> dict[str, Json]:
    """A file as callers see it, with where to get it."""
    return asdict(file) | {"url": f"/files/{file.id}"}


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
