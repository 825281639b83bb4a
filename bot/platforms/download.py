"""Download of users' files, from the platform's own hosts only."""

import asyncio
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from bot.chat import FileRefused
from bot.chat.texts import file_too_large
from bot.platforms import texts

TIMEOUT = 30.0
"""Seconds for one attempt."""

_REDIRECTS = 3
_TRIES = 3
_GONE = frozenset({401, 403, 404, 410})


@dataclass(frozen=True, slots=True)
class Hosts:
    """Allowed hosts for files: the `names` and their subdomains over https, and the API's `origin`.

    Methods of the API itself are never allowed: users may choose a file's address, and the bot's token would
    run the method.
    """

    names: frozenset[str]
    origin: str = ""

    def allow(self, url: URL) -> bool:
        """Return whether an address is on an allowed host."""
        host = url.host or ""
        if url.scheme not in ("http", "https") or not host or _is_of_api(url):
            return False
        if self.origin and url.origin() == URL(self.origin).origin():
            return True
        if url.scheme != "https" or url.user is not None or _is_number(host):
            return False
        return any(host == name or host.endswith(f".{name}") for name in self.names)


def _is_of_api(url: URL) -> bool:
    first = next(filter(None, url.path.split("/")), "")
    return first.strip().lower() == "api"


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def download(
    address: str,
    hosts: Hosts,
    most_bytes: int,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = TIMEOUT,
) -> bytes:
    """Return the content at an address, of at most `most_bytes` bytes.

    Redirections are followed to allowed hosts only, so that no `headers` go elsewhere. The announced length
    is not trusted. Raises `FileRefused`.
    """
    # no trust_env: a proxy of the environment must not see the token
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session:
        for attempt in range(_TRIES):
            try:
                return await _get(session, address, hosts, most_bytes, headers or {})
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if attempt == _TRIES - 1:
                    raise FileRefused(texts.SERVER_SILENT) from error
            await asyncio.sleep(attempt)  # it may be back in a second, and a user waits for the answer
    raise AssertionError("unreachable")


async def _get(
    session: aiohttp.ClientSession, address: str, hosts: Hosts, most_bytes: int, headers: Mapping[str, str]
) -> bytes:
    url = _check(address, hosts)
    for _ in range(_REDIRECTS + 1):
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status in (301, 302, 303, 307, 308):
                url = _check(response.headers.get("Location", ""), hosts, url)
                continue
            if response.status in _GONE:
                raise FileRefused(texts.NO_ACCESS)
            response.raise_for_status()
            return await _read_body(response, most_bytes)
    raise FileRefused(texts.TOO_MANY_REDIRECTS)


def _check(address: str, hosts: Hosts, base: URL | None = None) -> URL:
    try:
        url = base.join(URL(address)) if base else URL(address)
        allowed = hosts.allow(url)
    except ValueError:
        allowed = False
    if not allowed:
        raise FileRefused(texts.FOREIGN_SERVER)
    return url


async def _read_body(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_chunked(1 << 16):
        content += piece
        if len(content) > most_bytes:
            raise FileRefused(file_too_large(most_bytes))
    return bytes(content)
