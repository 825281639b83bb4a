"""Translation of Slack's errors into those of bot.chat.

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
"""Seconds to wait for a rate limit when Slack does not say how long."""

_LONGEST_WAIT = 3600.0
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


class Refused(Undeliverable):
    """Slack refuses a request and would refuse it again; `code` is Slack's error code."""

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"Slack refused {method}: {code}")
        self.code = code


class GivenUp(Refused):
    """Slack keeps failing at one request while it answers others; treated as a refusal."""

    def __init__(self, method: str) -> None:
        super().__init__(method, "it keeps failing")


class NotInstalled(Refused):
    """The app is not installed in a workspace (any more)."""

    def __init__(self, team: str) -> None:
        super().__init__(f"calls in the workspace {team}", "the app is not installed there")


class TokenLost(NotInstalled):
    """The token of a workspace has ended and cannot be renewed."""

    def __init__(self, team: str) -> None:
        Refused.__init__(self, f"calls in the workspace {team}", "its token has ended: install the app again")


class MissingScope(CredentialsRejected):
    """The token lacks a scope: the app was installed before the bot needed it."""


class StreamEnded(Refused):
    """Slack has ended the stream; the message remains and can be edited."""


class StoppedByUser(Refused):
    """A user has pressed Slack's stop button: the answer ends as it is."""


_UNREADABLE = (AttributeError, RecursionError, UnicodeDecodeError)
"""Errors of slack-sdk for an answer that is not a JSON object, such as a proxy's page."""

_KINDS = {"message_not_in_streaming_state": StreamEnded, "stopped_by_user": StoppedByUser}


@contextmanager
def translate_errors(method: str, variable: str) -> Iterator[None]:
    """Raise errors of `method` as errors of bot.chat; `variable` is the setting or the name of its token."""
    try:
        yield
    except SlackApiError as error:
        _raise(error, method, variable)
    except _UNREADABLE as error:
        raise Unreachable(f"Slack's answer to {method} cannot be read: {type(error).__name__}") from error
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(f"Slack did not answer {method}: {type(error).__name__} {error}") from error


def _raise(error: SlackApiError, method: str, variable: str) -> NoReturn:
    # `response` is aiohttp's own if the body was not JSON; `data` is not a dict if it was not an object
    status: int = getattr(error.response, "status_code", 0) or getattr(error.response, "status", 0)
    data = getattr(error.response, "data", None)
    code = str(data.get("error", "")) if isinstance(data, dict) else ""
    if status == 429 or code in _TOO_FAST:
        wait = _seconds(error.response.headers.get("Retry-After"))
        raise RateLimited(f"Slack limits {method}: wait {wait:g} s", wait) from error
    if code in _BAD_CREDENTIALS:
        kind = MissingScope if code == "missing_scope" else CredentialsRejected
        raise kind(_credentials_advice(method, code, variable, data)) from error
    if not code or status >= 500 or code in _OUT_OF_ORDER:
        raise Unreachable(f"Slack failed at {method}: {code or f'status {status}'}") from error
    raise _KINDS.get(code, Refused)(method, code) from error


def _seconds(wait: object) -> float:
    """Return the seconds that Slack names; a proxy may send something else, such as a date."""
    text = str(wait).strip()
    return min(float(text), _LONGEST_WAIT) if _SECONDS.fullmatch(text) else _DEFAULT_WAIT


def _credentials_advice(method: str, code: str, variable: str, data: object) -> str:
    if code == "missing_scope" and isinstance(data, dict):
        needed = data.get("needed", "unknown")
        again = "install the app again from manifest.yml"
        return f"{variable} lacks the scope {needed} for {method}: {again}"
    where = {
        "SLACK_BOT_TOKEN": "OAuth & Permissions, Bot User OAuth Token, xoxb-…",
        "SLACK_APP_TOKEN": "Basic Information, App-Level Tokens with connections:write, xapp-…",
        "SLACK_CLIENT_SECRET": "Basic Information, App Credentials",
    }.get(variable)
    if where is None:
        return f"Slack rejected {variable} at {method} ({code}): install the app again at /slack/install"
    return f"Slack rejected {variable} at {method} ({code}): copy it again from the app's settings ({where})"
