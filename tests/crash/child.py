"""Entry point of a bot that will be killed, in a fork of an interpreter that has imported it."""

import os
import sys
from collections.abc import Mapping

from bot import main
from tests.support import hanging_bot
from tests.support.forks import become
from tests.support.platforms import platforms_with


def run(environ: Mapping[str, str], log: str, is_faulty: bool, is_hasty: bool) -> None:
    """Run `python -m bot` with only these variables, and append its output to the file `log`."""
    become(environ, os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    if is_faulty:
        hanging_bot.install()
    sys.exit(main.main([], platforms_with(catch_up_seconds=0.2) if is_hasty else main.PLATFORMS))
