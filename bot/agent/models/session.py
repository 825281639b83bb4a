"""HTTP sessions with a model service."""

import logging
from contextlib import suppress
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

log = logging.getLogger(__name__)


def open_session(service: URL, **options: Any) -> aiohttp.ClientSession:
    """Return a session for requests to a service, through the proxy that the environment names for it.

    aiohttp's own `trust_env` asks two threads for each request, and reads `.netrc`: a request to a host that
    is listed there fails, since it has an `Authorization` header already.
    """
    return aiohttp.ClientSession(proxy=_proxy(service), **options)


def _proxy(service: URL) -> URL | None:
    named = getproxies().get(service.scheme)
    if not named or proxy_bypass(service.host or ""):
        return None
    with suppress(ValueError):
        proxy = URL(named if "://" in named else f"http://{named}")
        if proxy.scheme in ("http", "https"):
            return proxy
    name = f"{service.scheme.upper()}_PROXY"  # its value may have a password
    log.warning("proxy ignored", extra={"variable": name, "hint": "set an http:// address, or unset it"})
    return None
