"""Lines of the log, and the secrets that it never shows."""

import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.config.logs import configure_logging
from bot.main import PLATFORMS
from tests.support.calls import count_calls

Style = Literal["console", "json"]
STYLES: tuple[Style, ...] = ("console", "json")

PATTERNS = [each.info.redaction for each in PLATFORMS if each.info.redaction]

log = logging.getLogger("bot.tested")


def fail(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


class Log:
    """Text that has been written to stderr."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Each line as the JSON object it must be."""
        lines = self.text.split("\n")
        assert lines.pop() == "", "the last line is not ended"
        return [json.loads(line) for line in lines]

    @property
    def event(self) -> dict[str, Any]:
        """The only line."""
        (event,) = self.events
        return event


Configure = Callable[..., Log]


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Configures logging as the program does, into a string; afterwards all is as before."""
    root, ours = logging.getLogger(), logging.getLogger("bot")
    before = (root.handlers[:], root.level, ours.level)
    root.handlers = []  # basicConfig(force=True) would close pytest's own

    def configure(style: Style = "json", *, debug: bool = False, secrets: tuple[str, ...] = ()) -> Log:
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        configure_logging(style=style, debug=debug, secrets=secrets, patterns=PATTERNS)
        return Log(stream)

    yield configure
    logging.captureWarnings(False)
    root.handlers, level, ours_level = before
    root.setLevel(level)
    ours.setLevel(ours_level)


def test_json_line_holds_event_fields_and_origin(configured: Configure) -> None:
    """One object with the event, its level, logger and time, and the fields of `extra`, typed."""
    written = configured()
    log.info("turn finished", extra={"seconds": 1.5, "tools": ["sql_query"], "thread_id": "slack:t1:c1"})
    event = written.event
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "turn finished",
        "level": "info",
        "logger": "bot.tested",
        "seconds": 1.5,
        "tools": ["sql_query"],
        "thread_id": "slack:t1:c1",
    }


@pytest.mark.parametrize("style", STYLES)
def test_every_line_of_a_turn_carries_its_context(configured: Configure, style: Style) -> None:
    """Fields that are bound around a turn are in its lines and in no later one."""
    written = configured(style)
    with structlog.contextvars.bound_contextvars(turn="turn-17"):
        log.info("inside")
    log.info("outside")
    inside, outside = written.text.splitlines()
    assert "turn-17" in inside
    assert "turn-17" not in outside


def test_an_event_is_one_line_whatever_it_holds(configured: Configure) -> None:
    """Line breaks in fields and the trace of an error do not break a JSON line."""
    written = configured()
    try:
        fail(ValueError("first line\nsecond line"))
    except ValueError:
        log.exception("failed", extra={"answer": "a\nb\r\nc"})
    event = written.event
    assert event["answer"] == "a\nb\r\nc"
    assert "ValueError: first line\nsecond line" in event["exception"]
    assert "Traceback" in event["exception"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(text=st.text(), secret=st.text(min_size=4, max_size=12))
def test_json_line_parses_whatever_was_logged(configured: Configure, text: str, secret: str) -> None:
    """Any text as message, field and secret leaves one object on one line."""
    written = configured(secrets=(secret,))
    log.warning("%s", text, extra={"field": text, "nested": {"list": [text, 1, None]}, "odd": object()})
    assert written.event["level"] == "warning"


@pytest.mark.parametrize("secret", ["1234", "12345678", "null", "true", "warning", '", "', "event", "2026"])
def test_secret_that_looks_like_json_breaks_no_line(configured: Configure, secret: str) -> None:
    """Hiding happens in values, not in what holds a JSON line together."""
    written = configured(secrets=(secret,))
    log.warning("done", extra={"port": 12345678, "is_open": True, "nothing": None, "text": f"it is {secret}"})
    assert written.event["text"] == "it is ***"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc.def-ghi",
        "Authorization: Bot MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.fghijklmnopqrstuvwxyz",
        "xoxb-12345-abc",
        "redis://:p4ss@host",
        "sk-proj-abcdefgh1234",
    ],
)
def test_hiding_what_looks_like_a_secret_breaks_no_json_line(configured: Configure, text: str) -> None:
    """Also when it stands at the end of a field."""
    written = configured()
    log.warning("refused", extra={"header": text, "after": "still here"})
    assert written.event["after"] == "still here"
    assert "***" in written.event["header"]


SECRETS = [
    "plain-secret-value",
    "s\u00e4cr\u00e9t-\u4e2d\u6587",
    'quoted"secret"value',
    "apostrophe'd-secret",
    "back\\slash\\secret",
    "tab\tand\nline",
    "all \u00e4t \"once\" \\ 'here'",
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("secret", SECRETS)
def test_known_secret_never_appears(configured: Configure, style: Style, secret: str) -> None:
    """Not as message, argument, field, inside one, or in an error, in any spelling of it."""
    written = configured(style, secrets=(secret,))
    log.warning("%s", secret)
    log.warning("as a field", extra={"token": secret, "nested": {"deep": [secret, (secret,)]}})
    log.warning("as a representation", extra={"error": repr(ValueError(secret))})
    log.warning("in one with quotes", extra={"error": repr(ValueError(f'it "is" {secret}'))})
    log.warning("as an object", extra={"error": ValueError(secret)})
    with structlog.contextvars.bound_contextvars(bound=secret):
        log.warning("as context")
    try:
        fail(RuntimeError(f"cannot use {secret}"), cause=KeyError(secret))
    except RuntimeError:
        log.exception("as an error")
    for spelling in spellings(secret):
        assert spelling not in written.text
    assert written.text.count("***") >= 8


def spellings(secret: str) -> set[str]:
    """Return the spellings of a secret: after `repr`, after JSON, and after both."""
    forms = {secret, repr(secret)[1:-1], secret.replace("'", "\\'")}
    return forms | {json.dumps(each, ensure_ascii=ascii)[1:-1] for each in forms for ascii in (True, False)}


SHAPES = {
    "xoxb-1234-5678-abcDEF": "slack bot token",
    "xapp-1-A012-345-abcdef": "slack app token",
    "xoxp-1234-abc": "slack user token",
    "sk-proj-AbC_123-defghijk": "openai key",
    "Bearer abc.DEF-123_456~+/==": "authorization header",
    "Bot MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.fghijklmnop_qrstuv-wxyz": "discord authorization header",
    "postgresql://ada:p4ss@host:5432/shop": "database address",
    "redis://:p4ss@host:6379/0": "redis address",
    "rediss://ada:p%40ss@host": "redis address with TLS",
    "https://hooks.slack.com/commands/T012AB/123/Ab-Cd9": "where slack takes the answer to a command",
    "https://discord.com/api/v10/interactions/80351/aW50ZXJ.h-Y3_Rp/callback": "an answer on discord",
    "https://discord.com/api/v10/webhooks/80351/aW50ZXJ.h-Y3_Rp": "a later answer on discord",
    "wss://wss-primary.slack.com/link/?ticket=ab-cd-ef&app_id=9": "ticket of slack's socket mode",
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("token", SHAPES)
def test_what_looks_like_a_secret_never_appears(configured: Configure, style: Style, token: str) -> None:
    """Tokens that no setting holds, such as one in another service's error, are hidden by their shape."""
    secret = token.removeprefix("Bearer ").removeprefix("Bot ").rpartition("@")[0] or token.split()[-1]
    secret = secret.rpartition("://")[2]
    if found := re.search(r"hooks\.slack\.com/(.+)|(aW50[\w.-]+)|ticket=([\w-]+)", token):
        secret = found[found.lastindex or 0]
    written = configured(style)
    log.warning("in text: %s, and more", token)
    log.warning("as a field", extra={"field": token, "nested": {"headers": [token]}, "quoted": repr(token)})
    try:
        fail(ConnectionError(f"cannot use {token}"))
    except ConnectionError:
        log.exception("as an error")
    assert secret not in written.text
    assert written.text.count("***") >= 5
    assert "and more" in written.text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:p4ss@db.example:5432/shop", "postgresql://***@db.example:5432/shop"),
        ("https://hooks.slack.com/commands/T01/23/AbCd", "https://hooks.slack.com/***"),
        ("https://hooks.slack.com/services/T01/B2/Ab-C?x=1", "https://hooks.slack.com/***?x=1"),
        ("wss://wss.slack.com/link/?ticket=01-ab&app_id=2", "wss://wss.slack.com/link/?ticket=***&app_id=2"),
    ],
)
def test_hiding_leaves_the_rest_of_an_address(configured: Configure, url: str, shown: str) -> None:
    """An operator still sees which server it was about."""
    written = configured()
    log.warning("lost", extra={"url": url})
    assert written.event["url"] == shown


@pytest.mark.parametrize(
    "text", ["Bot restarted", "a task-list", "risk-averse-people", "https://host/path@2x.png", "the Bearer"]
)
def test_ordinary_words_are_not_hidden(configured: Configure, text: str) -> None:
    """A text that only resembles a token stays readable."""
    written = configured()
    log.warning("said", extra={"text": text})
    assert written.event["text"] == text


def test_very_short_secrets_are_not_hidden(configured: Configure) -> None:
    """A secret of three characters would blank out half of the log."""
    written = configured(secrets=("a", "abc", ""))
    log.warning("abc", extra={"text": "a cab"})
    assert (written.event["event"], written.event["text"]) == ("abc", "a cab")


def test_longer_secret_is_hidden_whole_when_it_holds_a_shorter_one(configured: Configure) -> None:
    """No tail of it is left."""
    written = configured(secrets=("pass", "pass-and-more"))
    log.warning("it", extra={"text": "pass-and-more and pass"})
    assert written.event["text"] == "*** and ***"


def test_local_variables_are_not_printed(configured: Configure) -> None:
    """A trace shows code, not the values that were in it."""
    written = configured("console")

    def connect() -> None:
        value = "".join(["not-a-", "known-secret"])
        raise ConnectionError(f"refused, {len(value)} characters")

    try:
        connect()
    except ConnectionError:
        log.exception("failed")
    assert "refused, 18 characters" in written.text
    assert "not-a-known-secret" not in written.text


@pytest.mark.parametrize(
    ("debug", "levels"), [(False, ["info", "warning"]), (True, ["debug", "info", "warning", "info"])]
)
def test_debug_decides_how_much_is_written(configured: Configure, debug: bool, levels: list[str]) -> None:
    """Ours from INFO on, libraries from WARNING on; with DEBUG one level more of each."""
    written = configured(debug=debug)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        log.log(level, "ours")
    for level in (logging.DEBUG, logging.INFO):
        logging.getLogger("library").log(level, "theirs")
    assert [event["level"] for event in written.events] == levels


def test_warnings_of_python_are_logged(configured: Configure) -> None:
    """They come as events, not as bare lines between them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        written = configured()
        warnings.warn("old way of doing it", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "old way of doing it" in written.event["event"]
    assert written.event["logger"] == "py.warnings"


def test_console_line_has_the_fields_without_colours(configured: Configure) -> None:
    """A stderr that is no terminal gets no escape codes."""
    written = configured("console")
    log.info("turn finished", extra={"seconds": 1.5})
    assert "turn finished" in written.text
    assert "seconds=1.5" in written.text
    assert "\x1b" not in written.text


UNSEEN = "\x1b[2J\x9b31m\x7f\u202e\u2028\x85\r"
"""It clears a terminal, colours it, turns a text's direction, and ends lines for some readers."""


@pytest.mark.parametrize("style", STYLES)
def test_no_text_moves_the_cursor_or_looks_like_a_line(configured: Configure, style: Style) -> None:
    """Log injection: in the event, in a field, in a key and in an exception."""
    written = configured(style)
    forged = f"x{UNSEEN}\n2026-01-01T00:00:00Z [info     ] approved"
    log.warning(forged, extra={"name_of_file": UNSEEN, "more": {UNSEEN: forged}})
    try:
        fail(ValueError(forged))
    except ValueError:
        log.exception("failed")
    assert not set(UNSEEN) - set("[2J31m") & set(written.text)
    assert not any(line.startswith("2026-01-01") for line in written.text.splitlines())
    if style == "json":
        assert written.events[0]["event"] == forged


def test_a_password_that_holds_an_at_sign_is_hidden_whole(configured: Configure) -> None:
    written = configured()
    log.warning("said", extra={"text": "postgres://ann:p@ss@host/base and b@c"})
    assert written.event["text"] == "postgres://***@host/base and b@c"


class Unformatted:
    """Value that must not be turned into text."""

    def __repr__(self) -> str:
        raise AssertionError("formatted, but not written")


def test_a_line_that_is_not_written_is_not_formatted(configured: Configure) -> None:
    written = configured()
    with count_calls() as calls:
        log.debug("details of %s", Unformatted(), extra={"field": Unformatted()})
    assert not written.text
    assert calls.total < 15, calls.by_module()


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python call otherwise")
def test_a_line_takes_a_limited_number_of_calls(configured: Configure) -> None:
    """Values that occur in many lines, such as names and ids, are searched for secrets once."""
    configured(secrets=("first-secret", "second-secret", "third-secret"))
    turn = {"thread_id": "slack:t1:c1:1796007398.941021", "turn": "slack:T1:C1:1796007398.941021"}
    with structlog.contextvars.bound_contextvars(**turn, platform="slack"):
        log.info("turn started", extra={"attempt": 1})
        log.info("turn finished", extra={"attempt": 1})
        with count_calls() as calls:
            log.info("turn finished", extra={"seconds": 1.5})
    assert calls.total <= 175, calls.by_module()
