"""Credentials of callers, as the settings name them. Nothing heavy is imported here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SHARED = "api"
"""Name of everybody who calls with API_TOKEN, or without a token from this machine."""


@dataclass(frozen=True, slots=True)
class TrustedProxy:
    """Proxy that has authenticated its users: it presents `token`, and names the user in `header`."""

    header: str
    token: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """Tokens of callers by name, and the proxy whose users are trusted, if any."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    proxy: TrustedProxy | None = None

    def __bool__(self) -> bool:
        """Return whether callers have to authenticate."""
        return bool(self.tokens or self.proxy)
