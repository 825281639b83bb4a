"""Who may call: the token when there is one, else this machine alone."""

import hmac
from collections.abc import Collection
from ipaddress import ip_address

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from yarl import URL

from bot.chat import CredentialsRejected
from bot.http.errors import Handler, Refusal

PUBLIC = frozenset({"/", "/page/{name}", "/livez", "/readyz"})
"""Routes without a secret: the page's files and the probes."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What keeps foreign scripts and frames off the page; a signal handler for every response."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-cache")


def check_exposure(host: str, api_token: str | None) -> None:
    """Raises `CredentialsRejected` when `host` would let other machines in without a token."""
    if api_token is None and not _is_loopback(host):
        raise CredentialsRejected(
            f"API_TOKEN is not set, and HTTP_HOST={host} can be reached from other machines: "
            "set API_TOKEN, or HTTP_HOST=127.0.0.1"
        )


def guard(api_token: str | None, mounted: Collection[str]) -> Middleware:
    """Admit a request or refuse it. Requests for `mounted` paths prove themselves (signatures)."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource else None  # as routed: no spelling slips past it
        if path in mounted:
            pass
        elif api_token is None:
            _refuse_foreign(request)
        elif path not in PUBLIC:
            _require_token(request, api_token)
        return await handler(request)

    return check


def _require_token(request: web.Request, api_token: str) -> None:
    scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    presented = given.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() != "bearer" or not hmac.compare_digest(presented, api_token.encode()):
        raise Refusal(
            401, "Send the header “Authorization: Bearer <API_TOKEN>”.", {hdrs.WWW_AUTHENTICATE: "Bearer"}
        )


def _refuse_foreign(request: web.Request) -> None:
    """Stop web pages that reach for this machine: by DNS rebinding (Host) or directly (Origin)."""
    host = request.headers.get(hdrs.HOST, "")
    if not _is_loopback(_host_name(host)):
        raise Refusal(
            403,
            "Without API_TOKEN this bot answers only to localhost, and the Host header names another host.",
        )
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        raise Refusal(
            403, "This request comes from another website's page (Origin), which may not talk to the bot."
        )


def _host_name(host: str) -> str:
    try:
        return URL(f"http://{host}").host or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
