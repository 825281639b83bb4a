"""Lifecycle of one plug-in: start, watch, restart. Its errors never stop the bot."""

import asyncio
import logging
import time
from collections.abc import Sequence

from bot.chat.text import one_line, visible
from bot.config.plugins import Policy
from bot.tools.plugins.builder import Workshop
from bot.tools.plugins.idempotency import Once
from bot.tools.plugins.source import Offer, PluginError, PluginLimits, Source
from bot.tools.plugins.toolbox import Toolbox

log = logging.getLogger(__name__)

_MOST_LEFT_OUT = 3
_MOST_ERROR_CHARS = 500

_FAILED = "it failed with {kind}; the log has more"


class Plugin:
    """Plug-in: a named source whose tools are put into the toolbox, with its state for health."""

    def __init__(
        self,
        name: str,
        source: Source,
        policy: Policy,
        toolbox: Toolbox,
        once: Once,
        limits: PluginLimits,
    ) -> None:
        self.name = name
        self.first_start = asyncio.Event()
        """Set once the plug-in has started or failed to."""
        self._source = source
        self._toolbox = toolbox
        self._limits = limits
        self._shop = Workshop(name, policy, once, lambda: self._reason)
        self._reason = "it is being started"
        self._retry_at = 0.0
        self._offers: dict[str, Offer] = {}
        self._tools = 0
        self._left_out: dict[str, str] = {}
        toolbox.put(name, ())

    @property
    def is_up(self) -> bool:
        """Return True if its tools can be called."""
        return not self._reason

    async def keep(self) -> None:
        """Keep it running until cancelled."""
        delay = self._limits.first_delay
        while True:
            began = time.monotonic()
            reason, error = await self._run()
            if time.monotonic() - began > self._limits.longest_delay:
                delay = self._limits.first_delay
            self._retry_at = time.monotonic() + delay
            if reason != self._reason:
                told = {"plugin": self.name, "reason": reason, "error": repr(error)[:_MOST_ERROR_CHARS]}
                log.warning("plug-in down", extra=told)
            self._reason = reason
            self.first_start.set()
            await asyncio.sleep(delay)
            delay = min(2 * delay, self._limits.longest_delay)

    async def _run(self) -> tuple[str, BaseException | None]:
        """Run the source until it ends; return the reason for users, and the error for the operator."""
        limit: asyncio.Timeout | None = None
        try:
            await self._source.prepare()
            async with asyncio.timeout(self._limits.start_seconds) as limit:
                await self._source.run(lambda offers: self._take(offers, limit))
        except PluginError as error:
            return str(error), error.__cause__
        except TimeoutError as error:
            if limit and limit.expired():
                return f"it did not start within {self._limits.start_seconds:g} s", None
            return _FAILED.format(kind="TimeoutError"), error
        except (Exception, SystemExit) as error:  # noqa: BLE001 - no error of a plug-in may stop the bot
            return _FAILED.format(kind=type(error).__name__), error
        return "it ended", None

    def _take(self, offers: Sequence[Offer], limit: asyncio.Timeout | None) -> None:
        """Put the offered tools into the toolbox and mark the plug-in as up."""
        tools, self._left_out = self._shop.build(offers)
        if limit:
            limit.reschedule(None)
        known = {each.name: each for each in offers if self._shop.policy.allows(each.name)}
        if known != self._offers or not self._tools:
            self._toolbox.put(self.name, tools)
        self._tell_changes(known)
        self._offers, self._tools = known, len(tools)
        self._reason = ""
        self.first_start.set()

    def _tell_changes(self, known: dict[str, Offer]) -> None:
        """Log changed tools: a tool that changes after its review is a known attack."""
        fields = {"plugin": self.name, "tools": len(known)}
        if not self._offers:
            log.info("plug-in started", extra=fields)
            return
        new, gone = known.keys() - self._offers.keys(), self._offers.keys() - known.keys()
        changed = {name for name in known.keys() & self._offers.keys() if known[name] != self._offers[name]}
        if new or gone or changed:
            names = {"new": new, "gone": gone, "changed": changed}
            told = {
                key: [one_line(visible(each, 60)) for each in sorted(value)[:20]]
                for key, value in names.items()
            }
            log.warning("plug-in tools changed", extra=fields | told)
        elif self._reason:
            log.info("plug-in recovered", extra=fields)

    def report(self) -> str:
        """Return the plug-in's state in one line."""
        if self._reason:
            wait = max(0, round(self._retry_at - time.monotonic()))
            again = f"; next try in {wait} s" if self._retry_at else ""
            return f"down: {self._reason}{again}"
        told = [f"{self._tools} {'tool' if self._tools == 1 else 'tools'}"]
        tally = self._shop.tally
        if tally.calls:
            told.append(f"last call {time.monotonic() - tally.last:.0f} s ago")
            told.append(f"{tally.failures} of {tally.calls} failed")
        if tally.last_error:
            told.append(f"last error {tally.last_error}")
        if self._left_out:
            first = [f"{name} ({why})" for name, why in list(self._left_out.items())[:_MOST_LEFT_OUT]]
            more = len(self._left_out) - len(first)
            told.append(f"left out: {'; '.join(first)}{f'; {more} more' if more else ''}")
        return f"ok: {', '.join(told)}"
