"""Entry point of a bot that will be killed, in a fork of an interpreter that has imported it."""

import os
import sys
from collections.abc import Mapping

from bot import main
from bot.discord import identify
from tests.support import hanging_bot
from tests.support.bot import with_catch_up
from tests.support.forks import become


def run(environ: Mapping[str, str], log: str, is_faulty: bool, is_hasty: bool) -> None:
    """Run `python -m bot` with only these variables, and append its output to the file `log`."""
    become(environ, os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    if is_faulty:
        hanging_bot.install()
    platforms = main.PLATFORMS
    if is_hasty:
        platforms = with_catch_up(0.2)
        identify.IDENTIFY_SECONDS, identify.LOOK_SECONDS = 0.15, 0.02
    sys.exit(main.main([], platforms))
