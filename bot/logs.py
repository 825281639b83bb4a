"""Logging: the standard library's loggers, rendered by structlog; secrets are taken out of every line."""

import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Literal

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

_TOKEN_SHAPES = re.compile(
    r"xox[a-z]-[\w-]+|xapp-[\w-]+"  # Slack
    r"|(?<=Bearer )\S+|(?<=Bot )[\w-]{20,}\.[\w-]+\.[\w-]+"  # authorization headers
    r"|\bsk-[\w-]{8,}"  # OpenAI
    r"|(?<=://)[^\s/@'\"]+(?=@)"  # user:password@ in addresses
)
_HIDDEN = "***"


def configure_logging(*, style: Literal["console", "json"], debug: bool, secrets: Iterable[str]) -> None:
    """Send all logging to stderr, a line an event, with the fields of `extra` and of the turn at hand."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(style),
            _Redactor(secrets),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("bot").setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(True)


def _renderers(style: Literal["console", "json"]) -> list[Processor]:
    if style == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    colors = sys.stderr.isatty()
    plain = structlog.dev.plain_traceback  # a rich one prints local variables, secrets among them
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


class _Redactor:
    """Replaces known secrets, and what looks like one, in the finished line."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {form for secret in secrets for form in (secret, json.dumps(secret)[1:-1]) if len(secret) > 3}
        self._secrets = sorted(known, key=len, reverse=True)

    def __call__(self, logger: WrappedLogger, method: str, line: str | EventDict) -> str:
        assert isinstance(line, str)
        for secret in self._secrets:
            line = line.replace(secret, _HIDDEN)
        return _TOKEN_SHAPES.sub(_HIDDEN, line)
