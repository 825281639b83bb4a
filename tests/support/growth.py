"""How the cost of a call grows with its input, in CPU time of this thread: other processes do not count."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

MOST_GROWTH = 2.5
"""Times the cost when the input doubles. Linear is 2, quadratic is 4."""

LENGTH = 40_000
_FLOOR = 0.03
"""CPU seconds that are too few to be measured; what grows faster than linear takes more for `LENGTH`."""

_ENOUGH = 3
"""Times the floor: more takes no longer measurement."""

_HARD_STOP = 0.3
_REPEATS = 4


class _TooLong(Exception):
    """The call has used up its CPU time."""


def grows(call: Callable[[str], object], document: Callable[[int], str], floor: float = _FLOOR) -> float:
    """Times the cost of `call` when a document of half of `LENGTH` characters doubles; 0 when it is cheap.

    A call that does not end in time is judged at the largest size at which it does, found from below, so that
    an exponential one is seen too.
    """
    length = LENGTH
    cost = _cost(call, document(length))
    if cost < floor:
        return 0
    if cost == float("inf"):
        length = 16
        while length < LENGTH and _cost(call, document(length + length // 4), _HARD_STOP / 6) < float("inf"):
            length += length // 4
    while (cost := _cost(call, document(length))) > _ENOUGH * floor and length > LENGTH // 16:
        length //= 2
    whole, half = document(length), document(length // 2)
    growth = float("inf")
    long = short = float("inf")
    for repeat in range(_REPEATS):  # the least of several is what the call costs, the rest is noise
        long, short = min(long, _cost(call, whole)), min(short, _cost(call, half))
        growth = long / max(short, 1e-7)
        if repeat and growth <= MOST_GROWTH:  # once alone, a half that was disturbed would hide anything
            break
    return growth


def _cost(call: Callable[[str], object], text: str, most: float = _HARD_STOP) -> float:
    before = signal.signal(signal.SIGVTALRM, _stop)
    started = time.thread_time()
    with suppress(_TooLong):
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, most)
            call(text)
            return time.thread_time() - started
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
    return float("inf")


def _stop(number: int, frame: FrameType | None) -> None:
    raise _TooLong
