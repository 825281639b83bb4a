"""Registration of a platform: its facts and settings, and how it is opened.

Each platform's folder offers one `Adapter`; `bot.main` lists them. They are imported before the settings are
checked, so only `open` imports a client library.
"""

from collections.abc import Callable, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

from bot.chat import ConversationStore, Coordination, Files, Hook, InboxLookup, PlatformInfo, Prompt, Vault
from bot.config import WORKER, HttpAddress, PlatformSettings, Settings, secret_value
from bot.platforms.receiver import Receiver, Webhook
from bot.platforms.supervise import CATCH_UP_SECONDS

__all__ = ["Adapter", "HttpAddress", "PlatformSettings", "Receiver", "Services", "Webhook", "secret_value"]

S = TypeVar("S", bound=PlatformSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Parts of the bot that a platform works with.

    `roles` are those of this process, `bots` the other bots that may write to it, as in ALLOWED_BOTS. `vault`
    is open if the settings of a platform say that it keeps secrets. `prompts` are those that the operator
    suggests to users, if any. `hooks` are those of HOOKS.
    """

    coordination: Coordination
    lookup: InboxLookup
    files: Files
    conversations: ConversationStore
    roles: Set[str]
    catch_up_hours: float
    bots: Set[str]
    vault: Vault | None = None
    prompts: Sequence[Prompt] | None = None
    hooks: Sequence[Hook] = ()


@dataclass(frozen=True, slots=True)
class Adapter(Generic[S]):
    """Registration of a platform. `open` makes no request yet; the platform is closed with its context.

    Missed messages are looked for every `catch_up_seconds`.
    """

    settings: type[S]
    open: Callable[[S, Services], AbstractAsyncContextManager[Receiver]]
    catch_up_seconds: float = CATCH_UP_SECONDS

    @property
    def info(self) -> PlatformInfo:
        """Return the facts about the platform."""
        return self.settings.info

    def connect(self, settings: Settings, services: Services) -> AbstractAsyncContextManager[Receiver] | None:
        """Open the platform, unless it is switched off or this process does not need it."""
        own = settings.of(self.settings)
        is_used = own.is_configured and not services.roles.isdisjoint({self.info.name, WORKER})
        return self.open(own, services) if is_used or own.is_always_on else None
