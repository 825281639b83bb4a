"""Bot without Slack's limit of 20 new streams a minute, which a measurement of many turns would exceed.

Beyond that limit the bot posts complete answers, which is cheaper, and not the subject of the measurement.
With `LAG_FILE` it records the lag of its event loop, with `TASKS_FILE` the number of its tasks.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.event_loop import LAG_FILE, TASKS_FILE, record_lag, record_tasks
from bot.config import Settings
from bot.main import PLATFORMS, main
from bot.platforms.adapter import Adapter
from bot.slack import ADAPTER
from bot.slack.adapter import build_adapter
from bot.slack.rate_limits import PER_MINUTE
from bot.slack.timing import Timing
from bot.storage.embedded import Servers


def add_recorders() -> None:
    """Let the bot run beside the recorders."""
    from bot import composition

    serve = composition.serve

    async def serve_recorded(settings: Settings, servers: Servers, adapters: Sequence[Adapter[Any]]) -> None:
        async with record_lag(), record_tasks():
            await serve(settings, servers, adapters)

    composition.serve = serve_recorded


if __name__ == "__main__":
    if {LAG_FILE, TASKS_FILE} & os.environ.keys():
        add_recorders()
    unmetered = build_adapter(Timing(), dict.fromkeys(PER_MINUTE, 1_000_000))
    sys.exit(main([], [unmetered if each is ADAPTER else each for each in PLATFORMS]))
