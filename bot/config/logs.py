"""Logging: standard library loggers, rendered by structlog, with secrets removed from every event."""

import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

_REDACTION = re.compile(
    # authorization headers
    r"(?<=Bearer )[\w.~+/=-]+|(?<=Authorization: Basic )[\w+/=-]+"
    r"|\bsk-[\w-]{8,}"  # OpenAI
    r"|(?<=://)[^\s/'\"]+(?=@)"  # user:password@ in addresses
)
_HIDDEN = "***"
_MOST_KNOWN = 1_000
_LONGEST_KNOWN = 200
"""Characters of the longest value whose redaction is kept: events, names and ids occur in many lines."""

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that move a terminal's cursor, end a line for some readers, or change the text direction."""


def configure_logging(
    *,
    style: Literal["console", "json"],
    debug: bool,
    secrets: Iterable[str],
    patterns: Iterable[re.Pattern[str]],
) -> None:
    """Send all logging to stderr, one line per event, with the fields of `extra` and of the current turn.

    `secrets` and texts that match one of `patterns`, which are the platforms' forms of secrets, are hidden.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _Redactor(secrets, patterns),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_renderers(style),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("bot").setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(True)
    # no line names them, and to look them up takes two fifths of making a record
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _renderers(style: Literal["console", "json"]) -> list[Processor]:
    if style == "json":
        return [structlog.processors.JSONRenderer(ensure_ascii=False), _in_ascii]
    # plain tracebacks: rich ones print local variables, which may contain secrets
    plain = structlog.dev.plain_traceback
    return [
        _on_one_line,
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),
    ]


def _in_ascii(logger: WrappedLogger, method: str, line: Any) -> str:
    """Escape invisible characters in a line of JSON, where they occur only within strings."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", str(line))


def _on_one_line(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Escape invisible characters, so that no text looks like a separate line; indent tracebacks."""

    def escape(key: str, value: object) -> object:
        if not isinstance(value, str):
            return value
        text = _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), value)
        return text.replace("\n", "\n  " if key in ("exception", "stack") else "\\n")

    return {key: escape(key, value) for key, value in event.items()}


class _Redactor:
    """Processor that replaces secrets, known or recognised by form, in every value of an event.

    It runs before rendering: in a rendered line of JSON it could replace a quote or half a number.
    """

    def __init__(self, secrets: Iterable[str], patterns: Iterable[re.Pattern[str]]) -> None:
        self._patterns = (*patterns, _REDACTION)
        spellings = {spelling for secret in secrets if len(secret) > 3 for spelling in _spellings(secret)}
        self._secrets = sorted(spellings, key=len, reverse=True)
        self._known = lru_cache(_MOST_KNOWN)(self._without_secrets)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {key: self._redact(value) for key, value in event.items()}

    def _redact(self, value: object) -> object:
        if isinstance(value, str):
            return self._known(value) if len(value) <= _LONGEST_KNOWN else self._without_secrets(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self._without_secrets(str(key)): self._redact(each) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._redact(each) for each in value]
        return self._without_secrets(repr(value))

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        for pattern in self._patterns:
            text = pattern.sub(_HIDDEN, text)
        return text


def _spellings(secret: str) -> set[str]:
    """Return the secret in all forms that `repr` and JSON give it."""
    forms = {secret, repr(secret)[1:-1], secret.replace("'", "\\'")}
    return forms | {json.dumps(each, ensure_ascii=plain)[1:-1] for each in forms for plain in (True, False)}
