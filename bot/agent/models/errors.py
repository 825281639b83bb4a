"""Failures of a model service: the cause, recognised from its response, and a sentence for the user."""

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from bot.agent.models import texts

_LONGEST_WAIT = 24 * 3600


@dataclass(frozen=True, slots=True)
class Cause:
    """Kind of failure: its sentence for the user, its HTTP `status`, and the `tries` that are worthwhile.

    `is_too_long`: a shorter request helps. `is_trouble`: the service is to blame.
    """

    sentence: str
    _: KW_ONLY
    status: int = 502
    tries: int = 1
    is_too_long: bool = False
    is_trouble: bool = True


TROUBLE = Cause(texts.TROUBLE, tries=3)
BROKEN = Cause(texts.TROUBLE, tries=2)
UNREACHABLE = Cause(texts.UNREACHABLE, status=503, tries=3)
SLOW = Cause(texts.SLOW, status=504, tries=2)
BUSY = Cause(texts.BUSY, status=429, tries=3)
NO_CREDIT = Cause(texts.NO_CREDIT, status=429)
KEY = Cause(texts.KEY_REJECTED, status=503)
REGION = Cause(texts.REGION_REJECTED, status=503)
UNKNOWN_MODEL = Cause(texts.UNKNOWN_MODEL, status=503)
ADDRESS = Cause(texts.WRONG_ADDRESS, status=503)
NO_TOOLS = Cause(texts.NO_TOOLS, status=503)
NO_PICTURES = Cause(texts.NO_PICTURES, status=503)
TOO_LONG = Cause(texts.TOO_LONG, is_too_long=True, is_trouble=False)
WITHHELD = Cause(texts.WITHHELD, is_trouble=False)
REFUSED = Cause(texts.REFUSED)
NO_WORDS = Cause(texts.NO_WORDS, tries=2)
ALL_THINKING = Cause(texts.ALL_THINKING, is_trouble=False)

_BY_STATUS = {
    401: KEY,
    402: NO_CREDIT,
    403: KEY,
    405: ADDRESS,
    408: SLOW,
    409: TROUBLE,
    413: TOO_LONG,
    425: TROUBLE,
    429: BUSY,
    504: SLOW,
    524: SLOW,
    529: BUSY,
}

# Patterns of the services' messages in lower case and their causes, searched in this order. Sources:
# documentation of the services and bug reports, see docs/models.md.
_BY_WORDS: tuple[tuple[Cause, str], ...] = (
    (
        TOO_LONG,
        r"context.?length|context.?window|context.?size|maximum context|prompt is too long|input is too long"
        r"|maximum number of tokens|reduce the length|range of input length|request.too.large"
        r"|context the overflows",
    ),
    (
        WITHHELD,
        r"content.?filter|content management policy|content.?policy|responsibleaipolicy|moderation|flagged"
        r"|data_?inspection|prohibited.?content|usage policies",
    ),
    (NO_CREDIT, r"insufficient.?(?:quota|balance|credit|funds)|payment required|credit balance|arrearage"),
    (
        NO_TOOLS,
        r"(?:tools?|function.?call\w*)\b[^.]{0,80}\b(?:not.{0,4}support|unsupported|not enabled|requires --)"
        r"|support[^.]{0,40}\b(?:tools?|function.?call)|tool choice requires|tool.call.parser",
    ),
    (
        NO_PICTURES,
        r"(?:image|vision|multimodal)[^.]{0,80}(?:not.{0,4}support|unsupported)|support[^.]{0,40}image",
    ),
    (REGION, r"unsupported.?country|(?:country|region|location)[^.]{0,40} not supported"),
    (KEY, r"api.?key|authenticat|unauthori[sz]ed|invalid.?token|permission.?denied"),
    (
        UNKNOWN_MODEL,
        r"model.?not.?found|model.{0,200}(?:does not|not) exist|not a valid model|unknown model|no such model"
        r"|invalid model|deployment.?not.?found|model.{0,100}not found",
    ),
    (
        BUSY,
        r"rate.?limit|too many requests|overloaded|capacity|resource.?exhausted|quota|throttl|queue is full",
    ),
    (SLOW, r"timed? ?-?out"),
)
_WORDS = tuple((cause, re.compile(words)) for cause, words in _BY_WORDS)

_LONGEST_TEXT = 2_000
_LONGEST_DETAIL = 600
_TRY_AGAIN = re.compile(r"try again in (\d{1,6}(?:\.\d{1,6})?) ?(ms|m|s)\b")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


class CallFailed(Exception):
    """Failed model call. `str()` is for the log; the cause holds the sentence for the user.

    `label` is for health and quotes no conversation; `wait` is the pause in seconds that the service asks
    for.
    """

    def __init__(self, cause: Cause, detail: str, *, wait: float | None = None) -> None:
        super().__init__(detail[:_LONGEST_DETAIL])
        self.cause = cause
        self.label = detail.partition(":")[0][:60]
        self.wait = wait

    @property
    def sentence(self) -> str:
        """Return the sentence for the user, with the time to wait if the service names one."""
        if self.wait is None or self.wait < 1:
            return self.cause.sentence
        return texts.with_wait(self.cause.sentence, self.wait)

    def with_setting(self, setting: str) -> "CallFailed":
        """Return this failure with `setting` as the name of the model's setting."""
        sentence = texts.with_setting(self.cause.sentence, setting)
        return CallFailed(replace(self.cause, sentence=sentence), str(self), wait=self.wait)


def of_status(status: int, headers: Mapping[str, str], body: str) -> CallFailed:
    """Return the failure that an HTTP response with this status reports."""
    error, is_json = _error_of(body)
    said, code = _text(error)
    text = said.lower()
    wait = _wait(headers, error, text)
    if 300 <= status < 400:
        cause = ADDRESS
    elif status >= 500:
        found = _by_words(text) if is_json else None
        cause = found if found in (TOO_LONG, NO_TOOLS, BUSY, SLOW) else _BY_STATUS.get(status, TROUBLE)
    elif status == 404:
        found = _by_words(text) if is_json else None
        cause = found or (UNKNOWN_MODEL if is_json and "model" in text else ADDRESS)
    else:
        cause = _by_words(text) or _BY_STATUS.get(status, REFUSED)
    return CallFailed(_distinguish(cause, status, wait, text), f"{status} {code}: {said}", wait=wait)


def of_error(error: object) -> CallFailed:
    """Return the failure that an error within a response with status 200 reports."""
    said, code = _text(error)
    text = said.lower()
    status = int(code) if code.isdecimal() and len(code) == 3 else 0
    cause = _by_words(text) or _BY_STATUS.get(status) or (REFUSED if 400 <= status < 500 else BROKEN)
    wait = _wait({}, error, text)
    return CallFailed(_distinguish(cause, status, wait, text), f"error {code}: {said}", wait=wait)


def _distinguish(cause: Cause, status: int, wait: float | None, text: str) -> Cause:
    """Distinguish a temporary limit from a spent account: both are 429 and mention a quota."""
    if status == 429 and cause not in (NO_CREDIT, TOO_LONG):
        return NO_CREDIT if wait is None and re.search(r"billing|current quota", text) else BUSY
    return NO_CREDIT if status == 402 else cause


def _by_words(text: str) -> Cause | None:
    return next((cause for cause, words in _WORDS if words.search(text)), None)


def _error_of(body: str) -> tuple[object, bool]:
    """Return the error in a body, and True if the body is JSON."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body, False
    if isinstance(value, list) and value:  # Gemini
        value = value[0]
    return (value.get("error") or value, True) if isinstance(value, dict) else (value, True)


def _text(error: object) -> tuple[str, str]:
    """Return the shortened text of an error, unchanged so that logs can redact keys in it, and its code."""
    try:
        return _words_and_code(error)
    except RecursionError:  # deep enough to be parsed, too deep to be written
        return "nested too deeply", ""


def _words_and_code(error: object) -> tuple[str, str]:
    if not isinstance(error, dict):
        return str(error)[:_LONGEST_TEXT], ""
    said = [error.get(key) for key in ("code", "type", "status", "message", "detail", "msg", "param")]
    more = error.get("metadata")
    said.append(more.get("raw") if isinstance(more, dict) else None)  # OpenRouter: the provider's own words
    text = " ".join(_short(each) for each in said if each)
    return text[: 2 * _LONGEST_TEXT], str(error.get("code") or "")[:40]


def _short(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, default=str))[:_LONGEST_TEXT]


def _wait(headers: Mapping[str, str], error: object, text: str) -> float | None:
    """Return the wait in seconds that a service asks for: in a header, Google's details, or a sentence."""
    found = _seconds(headers.get("retry-after-ms", ""), 0.001)
    if found is None:
        found = _seconds(headers.get("retry-after", ""))
    if found is None and isinstance(error, dict) and isinstance(error.get("details"), list):
        delays = (each.get("retryDelay") for each in error["details"][:20] if isinstance(each, dict))
        found = next((_seconds(str(each).removesuffix("s")) for each in delays if each), None)
    if found is None and (match := _TRY_AGAIN.search(text)):
        found = float(match[1]) * _UNITS[match[2]]
    return found


def _seconds(text: str, unit: float = 1.0) -> float | None:
    text = text.strip()[:40]
    try:
        seconds = float(text) * unit
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    if not math.isfinite(seconds) or seconds < 0:
        return None
    return min(seconds, _LONGEST_WAIT)
