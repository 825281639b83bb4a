"""Asks every part of the bot how it is, at the same time, and never fails itself."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from bot import __version__
from bot.chat import Health

log = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[Health]]
_PROBE_SECONDS = 3.0


class Examination:
    """The probes of all parts, by name; a part that is added later is asked, too."""

    def __init__(self) -> None:
        self._probes: dict[str, Probe] = {}
        self._started = time.monotonic()

    def add(self, name: str, probe: Probe) -> None:
        """Ask `probe` about the part `name` from now on."""
        self._probes[name] = probe

    async def __call__(self) -> list[Health]:
        """The health of every part, this process first."""
        probes = (self._ask(name, probe) for name, probe in self._probes.items())
        return [self._process(), *await asyncio.gather(*probes)]

    def _process(self) -> Health:
        uptime = round(time.monotonic() - self._started)
        return Health(name="bot", state="ok", evidence={"version": __version__, "uptime_s": uptime})

    async def _ask(self, name: str, probe: Probe) -> Health:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await probe()
        except TimeoutError:
            return Health(name=name, state="down", evidence={"error": f"no answer in {_PROBE_SECONDS:.0f} s"})
        except Exception as error:  # noqa: BLE001 - a probe that fails is a part that is down: that is the answer
            # only the kind: the text may hold an address with its password, and the log redacts
            log.warning("probe failed", extra={"part": name, "error": str(error)})
            return Health(name=name, state="down", evidence={"error": type(error).__name__})
