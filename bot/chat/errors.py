"""Errors, named for what the catcher does::

BotError
├── AnswerError             the agent could not answer; the text is for the user who asked
│   └── BudgetExceeded          ... because a budget is used up
├── PressRefused            a user cannot use a button below an answer; the text tells them why
├── StopRefused             a user cannot stop the answers of others; the text tells them so
├── LeaseLost               another process holds this thread now: stop and write nothing more
├── FileRefused             a file from a user cannot be fetched or read; the text tells them why
├── ReadingRefused          messages cannot be read for a user; the text tells them why
├── FileTooLarge            a file is too large to be stored
├── StillBusy               data cannot be erased yet, because running turns use it
├── StorageDown             our own Redis failed: the turn is tried again later
└── PlatformError           a chat service refused or failed: the turn is tried again later
    ├── RateLimited             ... after the number of seconds in the error
    ├── Unreachable             ... it did not answer at all
    ├── Undeliverable           not tried again: the reply cannot be shown (channel gone, no permission)
    └── CredentialsRejected     not tried again: the operator must fix a token or a setting
"""


class BotError(Exception):
    """Base of the errors that one part of the bot raises for another."""


class AnswerError(BotError):
    """Failure of the agent to answer; `str()` tells the user why, and what to do.

    `status` is the matching HTTP status: 429 (too many requests, or a quota or budget is used up), 502 (the
    model failed), 503 (it is unavailable) or 504 (it did not answer in time).
    """

    def __init__(self, sentence: str = "", *, status: int = 502) -> None:
        super().__init__(sentence)
        self.status = status


class BudgetExceeded(AnswerError):
    """Budget that is used up, so that no model is called for this turn; `str()` tells the user which."""

    def __init__(self, sentence: str, *, status: int = 429) -> None:
        super().__init__(sentence, status=status)


class PressRefused(BotError):
    """Press of a button below an answer that has no effect; `str()` tells the user why.

    `status` is the matching HTTP status: 403 (not for this user) or 404 (the answer is not known there).
    """

    def __init__(self, sentence: str, *, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class StopRefused(BotError):
    """Stop by a user who cannot stop the answers of others; `str()` tells them who can."""


class LeaseLost(BotError):
    """Loss of a thread to another process: stop, and write nothing more."""


class StillBusy(BotError):
    """Data that cannot be erased yet, because turns in this many `threads` have not ended in time."""

    def __init__(self, threads: int = 1) -> None:
        super().__init__(f"{threads} threads are being answered")
        self.threads = threads


class StorageDown(BotError):
    """Failure of the store of messages and memory: the turn is tried again later."""


class FileRefused(BotError):
    """File from a user that cannot be fetched or read; `str()` completes “I could not read NAME: ”."""


class ReadingRefused(BotError):
    """Messages that cannot be read for a user; `str()` completes “I could not read …: ”."""


class FileTooLarge(BotError):
    """File that is too large to be stored."""


class PlatformError(BotError):
    """Failure of a chat service, or its refusal of a request."""


class RateLimited(PlatformError):
    """Rate limit of the service: wait `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(PlatformError):
    """Service that did not answer, or reported an outage."""


class Undeliverable(PlatformError):
    """Reply that can never be shown: the channel is gone, or the bot cannot write in it."""


class CredentialsRejected(PlatformError):
    """Rejection of our token or settings by the service; the text names the variable to fix."""
