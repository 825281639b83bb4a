"""Callers of the HTTP surface: each token, and each user whom a trusted proxy names, is one person."""

import hmac
import re
from dataclasses import dataclass
from unicodedata import is_normalized

from aiohttp import hdrs, web

from bot.chat import ThreadId
from bot.commands.commands import Commands
from bot.http import texts
from bot.http.credentials import SHARED, Credentials
from bot.http.errors import Refusal

PLATFORM = "http"

_MOST_NAME_CHARS = 200
_NAME = re.compile(r"[^\s,]+")


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """Person who calls; the threads of one are in a space of their own."""

    name: str = SHARED

    @property
    def author(self) -> str:
        """Return the person as an author, as in `Message`."""
        return f"{PLATFORM}:{self.name}"

    @property
    def is_operator(self) -> bool:
        """Return whether the caller can do what administrators can, without being in ADMIN_USERS."""
        return self.name == SHARED

    def thread(self, id: str) -> ThreadId:
        """Return a thread of the caller."""
        return ThreadId(PLATFORM, self.name, id)


def caller_in(thread: ThreadId) -> ApiCaller:
    """Return the caller whose thread this is."""
    return ApiCaller(thread.space)


CALLER = web.RequestKey("caller", ApiCaller)
"""Key of a request for its caller; the guard sets it before any route that needs it."""


def is_administrator(caller: ApiCaller, commands: Commands) -> bool:
    """Return whether a caller is an administrator."""
    return caller.is_operator or (commands.is_admin is not None and commands.is_admin(caller.author))


def authenticate(request: web.Request, credentials: Credentials) -> ApiCaller:
    """Return the caller of a request. Raises `Refusal` with 401 or 403."""
    scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    presented = given.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""
    proxy = credentials.proxy
    if proxy and _is_equal(presented, proxy.token):
        return ApiCaller(_user(request.headers.getall(proxy.header, [])))
    # all are compared, so that the time tells nothing about any
    names = [name for name, token in credentials.tokens.items() if _is_equal(presented, token)]
    if not names:
        raise Refusal(401, texts.NO_TOKEN, {hdrs.WWW_AUTHENTICATE: "Bearer"})
    return ApiCaller(names[0])


def _is_equal(presented: bytes, token: str) -> bool:
    return hmac.compare_digest(presented, token.encode())


def _user(values: list[str]) -> str:
    """Return the name of a proxy's user; its prefix keeps it apart from the names of tokens.

    A name is normalised Unicode: others look like it, and some become it in lower case, as the Kelvin sign
    becomes a k.
    """
    name = values[0].strip() if len(values) == 1 else ""
    name = name.lower() if is_normalized("NFKC", name) else ""
    if len(name) > _MOST_NAME_CHARS or not name.isprintable() or not _NAME.fullmatch(name):
        raise Refusal(403, texts.NO_USER)
    return f"user:{name}"
