"""Plug-ins for the tests: MCP servers as child processes, and calls of tools as the agent makes them."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from pydantic import SecretStr
from redis.asyncio import Redis

from bot.config.plugins import plugin_settings
from bot.tools.errors import ToolFailure
from bot.tools.plugins import PluginLimits, Plugins, open_plugins

SERVER = Path(__file__).parents[1] / "servers" / "mcp_tools.py"
TOKEN = "mcp-token-0123456789"


def stdio(kind: str = "stdio", **more: Any) -> dict[str, Any]:
    """Return an entry of MCP_SERVERS for a child process without approvals."""
    return {"command": sys.executable, "args": [str(SERVER), kind], "approval": False, **more}


@asynccontextmanager
async def start_plugins(
    redis: Redis, servers: Mapping[str, Any], entry_points: str = "", **limits: Any
) -> AsyncIterator[Plugins]:
    """Open plug-ins with these `PluginLimits`, and wait until each has started or failed."""
    settings = plugin_settings(SecretStr(json.dumps(servers)), entry_points, has_approvers=True)
    assert not settings.problems
    async with open_plugins(settings, redis, limits=PluginLimits(**limits)) as plugins:
        await plugins.wait_for_start()
        yield plugins


async def call_tool(
    plugins: Plugins, name: str, /, *, runnable_config: RunnableConfig | None = None, **arguments: Any
) -> str:
    """Return the result of a tool, or the text of its failure after `failed: `."""
    tool = next(each for each in plugins.toolbox if each.name == name)
    call = {"name": name, "args": arguments, "id": "call_1", "type": "tool_call"}
    try:
        message = await tool.ainvoke(call, runnable_config)
    except ToolFailure as error:
        return f"failed: {error}"
    return str(message.text)


async def report(plugins: Plugins, name: str) -> str:
    """Return the health of a plug-in."""
    return str((await plugins.health()).evidence[name])


async def is_up(plugins: Plugins, name: str) -> bool:
    return (await report(plugins, name)).startswith("ok")


@asynccontextmanager
async def http_server(port: int = 0, **environ: str) -> AsyncIterator[int]:
    """Run the server over streamable HTTP and yield its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), "http", str(port), stdout=PIPE, env={"TOKEN": TOKEN, **environ}
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()
