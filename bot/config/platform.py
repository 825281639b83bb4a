"""Base class of each platform's settings, which become a part of `Settings`."""

from collections.abc import Set
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from bot.chat import PlatformInfo
from bot.config.addresses import check_http_address
from bot.config.environment import EnvironmentSettings


def _http_address(url: str) -> str:
    check_http_address(url)
    return url


HttpAddress = Annotated[str, AfterValidator(_http_address)]
"""Base URL of a web service."""


class PlatformSettings(EnvironmentSettings):
    """Settings of one platform. Its variables begin with the platform's name, so that none collides.

    `switch` is the field that switches the platform on, `advice` tells an operator how. A platform that
    `is_always_on` serves this machine even without it.

    With the field `keeps_secrets_with` set, it is in the spaces of all who install it, and keeps their
    secrets, which ENCRYPTION_KEY encrypts.
    """

    info: ClassVar[PlatformInfo]
    switch: ClassVar[str]
    advice: ClassVar[str] = ""
    is_always_on: ClassVar[bool] = False
    keeps_secrets_with: ClassVar[str] = ""

    @property
    def is_configured(self) -> bool:
        """Return whether the platform's switch is set."""
        value: Any = getattr(self, self.switch)
        return value is not None

    @property
    def keeps_secrets(self) -> bool:
        """Return whether the platform keeps secrets of others."""
        return bool(self.keeps_secrets_with) and getattr(self, self.keeps_secrets_with) is not None

    @property
    def mode(self) -> str:
        """Return the mode of an active platform, for the start summary."""
        return "on"

    def problems(self, roles: Set[str]) -> list[str]:
        """Return the conflicts between variables in a process with these roles, one sentence each."""
        return []

    def id_problem(self, ids: Set[str]) -> str:
        """Return a sentence if one of these ids, as in ADMIN_USERS, is one that the platform never uses."""
        return ""

    def state(self, roles: Set[str]) -> str:
        """Return the platform's state for the start summary, or an empty string to omit it."""
        if self.is_always_on:
            return ""
        if not self.is_configured:
            return "off"
        return self.mode if self.info.name in roles else "answers only (BOT_ROLES)"
