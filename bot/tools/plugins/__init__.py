"""Plug-ins: untrusted tools from MCP servers and installed packages (docs/plugins.md)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from langchain_core.tools import BaseTool
from redis.asyncio import Redis

from bot.chat import Health
from bot.concurrency.tasks import cancel
from bot.config.plugins import PluginSettings
from bot.tools.plugins.entry_point import EntryPointSource
from bot.tools.plugins.idempotency import Once
from bot.tools.plugins.mcp_server import McpSource
from bot.tools.plugins.plugin import Plugin
from bot.tools.plugins.source import PluginLimits
from bot.tools.plugins.toolbox import Toolbox

__all__ = ["PluginLimits", "Plugins", "Toolbox", "open_plugins"]

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 6.0
"""Seconds to close: a child has two to end by itself, two after SIGTERM, and is then killed."""


class Plugins:
    """All plug-ins, which start in the background."""

    name = "plugins"

    def __init__(self, toolbox: Toolbox, plugins: Sequence[Plugin], limits: PluginLimits) -> None:
        self.toolbox = toolbox
        self._plugins = plugins
        self._limits = limits

    async def wait_for_start(self) -> None:
        """Wait until each plug-in has started or failed, for at most `start_seconds`."""
        try:
            async with asyncio.timeout(self._limits.start_seconds):
                await asyncio.gather(*(each.first_start.wait() for each in self._plugins))
        except TimeoutError:
            log.info("plug-ins still starting")

    async def health(self) -> Health:
        """Report each plug-in's state; one that is down only degrades the bot."""
        evidence: dict[str, object] = {each.name: each.report() for each in self._plugins}
        if self.toolbox.left_out:
            evidence["left_out_in_all"] = self.toolbox.left_out
        is_ok = all(each.is_up for each in self._plugins) and not self.toolbox.left_out
        return Health(name="plugins", state="ok" if is_ok else "degraded", evidence=evidence)

    def __bool__(self) -> bool:
        return bool(self._plugins)


@asynccontextmanager
async def open_plugins(
    settings: PluginSettings | None,
    redis: Redis,
    own: Sequence[BaseTool] = (),
    limits: PluginLimits | None = None,
) -> AsyncIterator[Plugins]:
    """Begin to start the plug-ins, if there are any, and keep them until the end. Raises nothing.

    Their tools come beside the bot's `own`.
    """
    limits = limits or PluginLimits()
    toolbox, once = Toolbox(own), Once(redis)
    plugins: list[Plugin] = []
    if settings:
        for name, server in settings.servers.items():
            source = McpSource(name, server, limits)
            plugins.append(Plugin(name, source, server.policy, toolbox, once, limits))
        for name, policy in settings.entry_points.items():
            plugins.append(Plugin(name, EntryPointSource(name), policy, toolbox, once, limits))
    keepers = [asyncio.create_task(each.keep()) for each in plugins]
    try:
        yield Plugins(toolbox, plugins, limits)
    finally:
        await cancel(*keepers, patience=_CLOSE_SECONDS)
