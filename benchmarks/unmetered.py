"""The bot without Slack's limit of 20 new streams a minute, which no measurement of many turns could keep.

Beyond that limit the bot posts its answers whole, which is cheaper, and is not what is measured here.
"""

import sys

from bot.main import main
from bot.slack import stream

if __name__ == "__main__":
    stream._STARTS_PER_MINUTE = stream._APPENDS_PER_MINUTE = 1_000_000
    sys.exit(main([]))
