"""Everything that a bot imports or loads, in the interpreter that `tests.support.forks` forks.

No import may start a thread or an event loop: a fork has neither.
"""

import importlib
import os
from contextlib import suppress
from typing import Any

from bot.concurrency import garbage
from bot.config import ConfigError, load_settings
from bot.main import SETTINGS
from bot.memory import embeddings

garbage.pause()
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # else numpy starts threads when it is imported

for name in (
    *(
        "bot.main",
        "bot.composition",
        "bot.slack.platform",
        "bot.discord.platform",
        "bot.agent.models.openai_service",
    ),
    *("tests.crash.child", "tests.support.bot"),
    # imported by libraries when they are first used: a third of a start
    *("anyio.abc", "httpcore2", "langchain_core.tracers.context", "openai.resources.chat.completions"),
    "redis.commands.json",
):
    importlib.import_module(name)

embeddings._load()

own_tools = importlib.import_module("bot.tools.toolset").toolset
service = importlib.import_module("bot.agent.models.openai_service")
nothing: Any = object()
for tool in own_tools(nothing, nothing, keep=nothing, archives=nothing, asks=True):
    service._spec(tool)  # takes a life with a turn 8 ms

with suppress(ConfigError):  # last: it builds the validator, and fills caches that each import empties
    load_settings(SETTINGS)

garbage.resume()  # a collection in a fork copies each page that it looks at
