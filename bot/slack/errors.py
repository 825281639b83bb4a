"""Slack's errors, turned into those of bot.chat.

Error codes: https://docs.slack.dev/reference/methods (each method's page lists its own).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.chat import CredentialsRejected, RateLimited, Undeliverable, Unreachable

_OUT_OF_ORDER = frozenset(
    {
        "external_channel_migrating",
        "fatal_error",
        "internal_error",
        "messaging_processing_failed",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",  # the workspace is being moved
    }
)
_TOO_FAST = frozenset({"message_limit_exceeded", "rate_limited", "ratelimited"})
_BAD_CREDENTIALS = frozenset(
    {
        "account_inactive",
        "forbidden_team",
        "invalid_auth",
        "missing_scope",
        "not_allowed_token_type",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
        "two_factor_setup_required",
    }
)
_DEFAULT_WAIT = 30.0
"""Seconds to wait when Slack limits us without saying for how long."""

_LONGEST_WAIT = 3600.0
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


class Refused(Undeliverable):
    """Slack said no to one request, and will again; `code` is Slack's word for why."""

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"Slack refused {method}: {code}")
        self.code = code


class GivenUp(Refused):
    """Slack fails at one request again and again, while it answers others: it counts as refused."""

    def __init__(self, method: str) -> None:
        super().__init__(method, "it fails again and again")


class MissingScope(CredentialsRejected):
    """The app was installed before it needed this permission."""


class StreamEnded(Refused):
    """Slack has ended the stream by itself; the message stays and can be edited."""


class StoppedByUser(Refused):
    """A person has pressed Slack's stop button: the answer ends where it stands."""


_UNREADABLE = (AttributeError, RecursionError, UnicodeDecodeError)
"""Raised by slack-sdk for an answer that is no JSON object: the page of a proxy, for example."""

_KINDS = {"message_not_in_streaming_state": StreamEnded, "stopped_by_user": StoppedByUser}


@contextmanager
def translate_errors(method: str, variable: str) -> Iterator[None]:
    """Raise what `method` meets as errors of bot.chat; `variable` holds the token that it uses."""
    try:
        yield
    except SlackApiError as error:
        _raise(error, method, variable)
    except _UNREADABLE as error:
        raise Unreachable(f"Slack's answer to {method} cannot be read: {type(error).__name__}") from error
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(f"Slack did not answer {method}: {type(error).__name__} {error}") from error


def _raise(error: SlackApiError, method: str, variable: str) -> NoReturn:
    # `response` is aiohttp's own when the body was not JSON, and its data is no dict when not of that type
    status: int = getattr(error.response, "status_code", 0) or getattr(error.response, "status", 0)
    data = getattr(error.response, "data", None)
    code = str(data.get("error", "")) if isinstance(data, dict) else ""
    if status == 429 or code in _TOO_FAST:
        wait = _seconds(error.response.headers.get("Retry-After"))
        raise RateLimited(f"Slack limits {method}: wait {wait:g} s", wait) from error
    if code in _BAD_CREDENTIALS:
        kind = MissingScope if code == "missing_scope" else CredentialsRejected
        raise kind(_what_to_mend(method, code, variable, data)) from error
    if not code or status >= 500 or code in _OUT_OF_ORDER:
        raise Unreachable(f"Slack is out of order at {method}: {code or f'status {status}'}") from error
    raise _KINDS.get(code, Refused)(method, code) from error


def _seconds(wait: object) -> float:
    """Return the whole seconds that Slack names. A proxy on the way may write something else, or a date."""
    text = str(wait).strip()
    return min(float(text), _LONGEST_WAIT) if _SECONDS.fullmatch(text) else _DEFAULT_WAIT


def _what_to_mend(method: str, code: str, variable: str, data: object) -> str:
    if code == "missing_scope" and isinstance(data, dict):
        needed = data.get("needed", "unknown")
        return f"{variable} lacks the scope {needed} for {method}: install the app again from manifest.yml"
    where = {
        "SLACK_BOT_TOKEN": "OAuth & Permissions, Bot User OAuth Token, xoxb-…",
        "SLACK_APP_TOKEN": "Basic Information, App-Level Tokens with connections:write, xapp-…",
    }[variable]
    return f"Slack rejected {variable} at {method} ({code}): copy it again from the app's settings ({where})"
