"""Rate limits of Discord, and faults that a test requests."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_LIMITS = {"send": (5, 5.0), "edit": (5, 5.0), "webhook": (5, 2.0), "rename": (2, 600.0)}
"""Requests and seconds per bucket; channels (interaction tokens) are counted apart."""


@dataclass(frozen=True)
class Limit:
    """`count` requests in `seconds`; the window opens with the first request."""

    count: int
    seconds: float


@dataclass
class _Window:
    ends: float
    used: int = 0


@dataclass(frozen=True)
class Verdict:
    """Result of a bucket for one request; `retry_after` (seconds) is set if the limit is exceeded."""

    headers: Mapping[str, str]
    retry_after: float | None = None


class Buckets:
    """Request counters; `limits` (per bucket, `other` for the rest) and `everything` may be changed."""

    def __init__(self) -> None:
        self.limits = {name: Limit(*limit) for name, limit in DEFAULT_LIMITS.items()}
        self.other = Limit(50, 1.0)
        self.everything = Limit(50, 1.0)
        self._windows: dict[tuple[str, str], _Window] = {}

    def count_globally(self) -> float | None:
        """Count a request against the global limit; return the seconds to wait beyond it, else None."""
        window = self._window(("everything", ""), self.everything)
        window.used += 1
        return window.ends - time.monotonic() if window.used > self.everything.count else None

    def count(self, bucket: str, major: str) -> Verdict:
        limit = self.limits.get(bucket, self.other)
        window = self._window((bucket, major), limit)
        left = max(0.0, window.ends - time.monotonic())
        refused = window.used >= limit.count
        window.used += not refused
        headers = {
            "X-RateLimit-Limit": str(limit.count),
            "X-RateLimit-Remaining": str(limit.count - window.used),
            "X-RateLimit-Reset": f"{time.time() + left:.3f}",
            "X-RateLimit-Reset-After": f"{left:.3f}",
            "X-RateLimit-Bucket": f"bucket-of-{bucket}",
        }
        return Verdict(headers, left if refused else None)

    def _window(self, key: tuple[str, str], limit: Limit) -> _Window:
        now = time.monotonic()
        window = self._windows.get(key)
        if window is None or window.ends <= now:
            window = self._windows[key] = _Window(now + limit.seconds)
        return window


@dataclass
class Fault:
    """Fault of matching requests (`Discord.fail`); `used` counts the affected ones."""

    method: str
    path: str
    times: int
    holding: str = ""
    status: int | None = None
    code: int = 0
    message: str = ""
    retry_after: float | None = None
    is_global: bool = False
    after_applying: bool = False
    drop: bool = False
    delay: float = 0
    used: int = field(default=0, init=False)

    def matches(self, method: str, path: str, text: str = "") -> bool:
        pattern = re.escape(self.path).replace(r"\*", "[^/]+")
        return (
            self.used < self.times
            and self.method in ("*", method)
            and self.holding in text
            and re.fullmatch(pattern, path) is not None
        )


class Faults:
    """Pending faults, the oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def take(self, method: str, path: str, text: str) -> Fault | None:
        """Return the fault for this request, and count its use."""
        for fault in self._faults:
            if fault.matches(method, path, text):
                fault.used += 1
                return fault
        return None
