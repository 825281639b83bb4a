"""Authentication: the tokens of callers; without any, only clients on this machine."""

import re
from collections.abc import Collection
from ipaddress import ip_address

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.typedefs import Middleware

from bot.chat import CredentialsRejected
from bot.http import openapi, texts
from bot.http.callers import CALLER, ApiCaller, authenticate
from bot.http.connections import SERVER
from bot.http.credentials import Credentials
from bot.http.errors import Handler, Refusal

PROBES = frozenset({"/livez", "/readyz"})

PUBLIC = PROBES | {"/", "/page/{name}", openapi.PATH}
"""Routes without authentication: the page's files, the probes and the document about all others."""

_HOST = re.compile(r"(localhost|[0-9.]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
"""`host[:port]` with a name or an address that may be this machine."""

_OF_PROXIES = re.compile(
    r"forwarded|via|x-forwarded-.*|x-real-ip|(x|true)-client-ip|x-cluster-client-ip|x-original-.*"
    r"|x-envoy-.*|cf-.*|cdn-loop",
    re.ASCII | re.IGNORECASE,
)
"""Headers that proxies add, and local clients do not."""

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
    """Add headers to every response that keep foreign scripts and frames off the page (a signal handler)."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-cache")
    response.headers[hdrs.SERVER] = SERVER


def check_exposure(host: str, credentials: Credentials) -> None:
    """Raise `CredentialsRejected` if `host` would admit other machines without a token."""
    if not credentials and not _is_loopback(host):
        raise CredentialsRejected(
            f"API_TOKEN is not set, and HTTP_HOST={host} can be reached from other machines: "
            "set API_TOKEN, or HTTP_HOST=127.0.0.1"
        )


def guard(credentials: Credentials, webhooks: Collection[str]) -> Middleware:
    """Return a middleware that refuses unauthenticated requests; webhooks check signatures.

    Webhooks are reached from outside, perhaps by a proxy that looks like a local client: without a
    token only webhooks and the probes are served then.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        _refuse_foreign_target(request)
        resource = request.match_info.route.resource
        path = resource.canonical if resource else None  # as routed, so that no spelling evades the check
        if path in webhooks:
            pass
        elif not credentials:
            _refuse_foreign(request)
            if webhooks and path not in PROBES:
                raise Refusal(403, texts.only_available(sorted(webhooks)))
            request[CALLER] = ApiCaller()
        elif path not in PUBLIC:
            request[CALLER] = authenticate(request, credentials)
        return await handler(request)

    return check


def _refuse_foreign_target(request: web.Request) -> None:
    """Refuse a target that is neither a path nor an address of the host in the Host header."""
    if request.version not in (HttpVersion10, HttpVersion11):
        raise Refusal(400, texts.OTHER_VERSION)
    target = request.raw_path
    if not target.isascii():
        raise Refusal(400, texts.UNENCODED_PATH)
    scheme, is_absolute, rest = target.partition("://")
    if not target.startswith("/") and is_absolute:
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
        if scheme.lower() not in ("http", "https") or authority.lower() != _host(request).lower():
            raise Refusal(400, texts.HOSTS_DIFFER)


def _refuse_foreign(request: web.Request) -> None:
    """Refuse proxies, and pages of other sites that use DNS rebinding (Host) or direct requests (Origin)."""
    if proxy := next(filter(_OF_PROXIES.fullmatch, request.headers), None):
        raise Refusal(403, texts.through_proxy(proxy))
    host = _host(request)
    if not _names_loopback(host):
        raise Refusal(403, texts.FOREIGN_HOST)
    origins = request.headers.getall(hdrs.ORIGIN, [])
    if any(each.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}") for each in origins):
        raise Refusal(403, texts.FOREIGN_ORIGIN)


def _host(request: web.Request) -> str:
    """Return the Host header, or an empty string unless there is exactly one."""
    hosts = request.headers.getall(hdrs.HOST, [])
    return hosts[0] if len(hosts) == 1 else ""


def _names_loopback(host: str) -> bool:
    parts = _HOST.fullmatch(host)
    return parts is not None and _is_loopback(parts[1].strip("[]"))


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
