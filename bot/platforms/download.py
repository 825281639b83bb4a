"""Getting a file that a person sent, from the platform's own hosts and from nowhere else."""

import asyncio
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from bot.chat import FileRefused

_SECONDS = 30.0
_REDIRECTS = 3
_TRIES = 3
_GONE = frozenset({401, 403, 404, 410})


@dataclass(frozen=True, slots=True)
class Hosts:
    """Allowed hosts for files: the `names` and their subdomains over https, and the API's `origin`.

    Methods of the API itself are never allowed: others may choose a file's address, and our token would
    run the method.
    """

    names: frozenset[str]
    origin: str = ""

    def allow(self, url: URL) -> bool:
        """Whether an address is one of them."""
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
    address: str, hosts: Hosts, most_bytes: int, headers: Mapping[str, str] | None = None
) -> bytes:
    """The content at an address, of so many bytes at most.

    A redirection is followed to another of the hosts only, so that no `headers` go elsewhere. What the
    other side says of the length is not believed. Raises `FileRefused`.
    """
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    # no trust_env: a proxy of the environment must not see the token
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for attempt in range(_TRIES):
            try:
                return await _get(session, address, hosts, most_bytes, headers or {})
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if attempt == _TRIES - 1:
                    raise FileRefused("the service that has it does not answer; try again later") from error
            await asyncio.sleep(attempt)  # it may be back in a second; people wait for the answer
    raise AssertionError("unreachable")


async def _get(
    session: aiohttp.ClientSession, address: str, hosts: Hosts, most_bytes: int, headers: Mapping[str, str]
) -> bytes:
    url = _checked(address, hosts)
    for _ in range(_REDIRECTS + 1):
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status in (301, 302, 303, 307, 308):
                url = _checked(response.headers.get("Location", ""), hosts, url)
                continue
            if response.status in _GONE:
                raise FileRefused("it is gone, or I may not see it")
            response.raise_for_status()
            return await _bounded(response, most_bytes)
    raise FileRefused("its address leads from one place to the next")


def _checked(address: str, hosts: Hosts, base: URL | None = None) -> URL:
    try:
        url = base.join(URL(address)) if base else URL(address)
        allowed = hosts.allow(url)
    except ValueError:
        allowed = False
    if not allowed:
        raise FileRefused("it is not on the service's own servers")
    return url


async def _bounded(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_chunked(1 << 16):
        content += piece
        if len(content) > most_bytes:
            raise FileRefused(too_large(most_bytes))
    return bytes(content)


def too_large(most_bytes: int) -> str:
    """Why a file is not read."""
    return f"it is larger than {most_bytes / (1 << 20):.3g} MiB, which is the most I read"
