"""`python -m bot`."""

import signal
import sys

# until the loop takes signals over there is nothing to clean up: Ctrl-C ends without a trace
signal.signal(signal.SIGINT, signal.SIG_DFL)

try:
    from bot.main import main
except ModuleNotFoundError as error:
    print(  # noqa: T201 - there is no logging yet
        f"The package {error.name} is missing in this Python. Use ./dev run, which installs all packages; "
        "what follows goes to the bot, as in ./dev run inbox",
        file=sys.stderr,
    )
    sys.exit(2)

sys.exit(main())
