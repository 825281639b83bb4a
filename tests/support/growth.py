"""Growth of a call's cost with its input, in CPU time of this thread: other processes do not count."""

import gc
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

MOST_GROWTH = 2.5
"""Factor of the cost when the input doubles: 2 is linear, 4 is quadratic."""

LENGTH = 40_000
_FLOOR = 0.03
"""CPU seconds that are too few to be measured; superlinear growth takes more for `LENGTH`."""

_SHORT = 8
"""Divisor of `LENGTH` for the text that is tried first: if its cost times the square of this stays below the
floor, quadratic cost does so at `LENGTH`, too."""

_ENOUGH = 3
"""Multiple of the floor above which no longer measurement is needed."""

_HARD_STOP = 0.3
_REPEATS = 8


class _TooLong(Exception):
    """Call that has used up its CPU time."""


def grows(
    call: Callable[[str], object],
    document: Callable[[int], str],
    floor: float = _FLOOR,
    *,
    is_even: bool = False,
) -> float:
    """Return the factor of the cost of `call` when a document doubles to `LENGTH` characters; 0 if it is
    cheap.

    A call that does not end in time is measured at the largest size at which it does, so that exponential
    growth is detected, too. Of one that `is_even`, whose cost begins at no length, a short text is enough.
    """
    if is_even and _cost(call, document(LENGTH // _SHORT)) < floor / _SHORT**2:
        return 0
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
    for repeat in range(_REPEATS):  # the minimum of several is the cost, the rest is noise
        long, short = min(long, _cost(call, whole)), min(short, _cost(call, half))
        growth = long / max(short, 1e-7)
        if repeat and growth <= MOST_GROWTH:  # once alone, a half that was disturbed would hide anything
            break
    return growth


def _cost(call: Callable[[str], object], text: str, most: float = _HARD_STOP) -> float:
    before = signal.signal(signal.SIGVTALRM, _stop)
    gc.disable()  # a collection looks at all that the tests hold
    started = time.thread_time()
    with suppress(_TooLong):
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, most)
            call(text)
            return time.thread_time() - started
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            gc.enable()
            signal.signal(signal.SIGVTALRM, before)
    return float("inf")


def _stop(number: int, frame: FrameType | None) -> None:
    raise _TooLong
