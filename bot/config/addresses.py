"""Validation of addresses in settings, and the passwords in them."""

import re
from collections.abc import Sequence
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_SENTINELS = re.compile(r"rediss?\+sentinel://")
_HOST = r"(?:[^/@,:\[\]]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"
_SENTINEL_ADDRESS = re.compile(rf"{_SENTINELS.pattern}(?:[^/@]*@)?{_HOST}(?:,{_HOST})*/[^/]+(?:/\d+)?")


def check_http_address(url: str) -> None:
    """Raise `ValueError` if this is not the address of a web service."""
    address = _split(url)
    if address.scheme not in ("http", "https") or not address.hostname or address.port == 0:
        raise ValueError("must be an address that begins with https:// or http://")


def check_server_address(url: str, schemes: Sequence[str]) -> None:
    """Raise `ValueError` if this is not an address with one of these schemes."""
    if _split(url).scheme not in schemes:
        raise ValueError("must begin with " + " or ".join(f"{scheme}://" for scheme in schemes))


def check_redis_address(url: str) -> None:
    """Raise `ValueError` if this is not an address of Redis or of Sentinels."""
    if not _SENTINELS.match(url):
        check_server_address(url, ("redis", "rediss", "unix"))
    elif not _SENTINEL_ADDRESS.fullmatch(url):
        raise ValueError(
            "must read redis+sentinel://[user:password@]host:port,host:port/service[/database], with the "
            "special characters of the password percent-encoded"
        )


def passwords_in(address: str) -> set[str]:
    """Return the passwords in an address, as written and decoded; none in any other text."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return set()
    named = {value for name, value in parse_qsl(parts.query) if "password" in name}
    return {unquote(parts.password or ""), parts.password or "", *named} - {""}


def _split(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        _ = address.port  # raises for an invalid port
    except ValueError:  # its text may quote the password
        raise ValueError(
            "is not an address: correct its port, and percent-encode the special characters of a password"
        ) from None
    return address
