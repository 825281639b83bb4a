"""Deliveries to hooks: each is posted into a channel, and the agent is asked about it there."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bot.chat import (
    Announcement,
    Deliver,
    Halt,
    Health,
    Hook,
    Platform,
    Receipt,
    Turn,
    Undeliverable,
    harmless,
    is_hook,
)
from bot.platforms.texts import delivered_by

log = logging.getLogger(__name__)

PLATFORM = "http"
"""Platform that takes the deliveries, each in a thread without readers."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Hooks of this deployment; a `bot.chat.HealthCheck`."""

    name = "hooks"

    hooks: Sequence[Hook]
    platform: Callable[[str], Platform]
    failures: dict[str, str] = field(default_factory=dict)
    """Reason why the last delivery to a hook could not be posted by this process, by its name."""

    def is_delivery(self, turn: Turn) -> bool:
        """Return whether a turn is a delivery, which is posted, and not a question, which is answered."""
        return turn.thread.platform == PLATFORM and all(map(is_hook, turn.authors))

    async def run(self, turn: Turn, receipt: Receipt, halt: Halt, deliver: Deliver) -> None:
        """Post a delivery, then ask the agent about it; both once, however often this runs.

        Raises `PlatformError`, which is `Undeliverable` if the channel does not take it.
        """
        if halt.done():  # it is given up: there is nobody to notify
            return
        (delivery,) = turn.messages
        hook = next((each for each in self.hooks if each.author == delivery.author), None)
        if hook is None:
            raise Undeliverable(f"HOOKS has no hook {delivery.author_name!r} any more")
        platform = self.platform(hook.channel.partition(":")[0])
        announcement = Announcement(harmless(delivery.text), delivered_by(hook.name, turn.reference))
        what = {"hook": hook.name, "channel": hook.channel}
        try:
            opening = await platform.announce(announcement, hook.channel, receipt)
        except Undeliverable as error:
            self.failures[hook.name] = str(error)
            log.warning("hook delivery not posted", extra={**what, "error": str(error)})
            raise
        self.failures.pop(hook.name, None)
        if hook.instructions:
            await deliver(opening.message(delivery, hook.instructions))
        log.info("hook delivery posted", extra={**what, "reference": turn.reference})

    async def health(self) -> Health:
        """Report the hooks whose last delivery was not posted."""
        evidence: Mapping[str, object] = {"hooks": len(self.hooks)}
        if self.failures:
            return Health(
                name=self.name, state="degraded", evidence={**evidence, "not_posted": self.failures}
            )
        return Health(name=self.name, state="ok", evidence=evidence)
