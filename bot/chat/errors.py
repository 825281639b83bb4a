"""Errors, named for what the catcher does::

BotError
├── AnswerError             the agent could not answer; its text is fit for the person who asked
│   └── BudgetSpent             ... since what may be spent today is spent
├── StopRefused             who wants a stop has not asked; its text tells them so
├── LeaseLost               another process holds this thread now: stop and write nothing more
├── FileRefused             a file that a person sent cannot be had or read; its text tells them why
├── FileTooLarge            a file is not kept, since it is larger than what fits
├── StillBusy               data cannot be erased yet, since turns under way use it
├── StorageDown             our own Redis failed: the turn is tried again later
└── PlatformError           a chat service refused or failed: the turn is tried again later
    ├── RateLimited             ... after the seconds it names
    ├── Unreachable             ... it did not answer at all
    ├── Undeliverable           never: this reply cannot be shown there (channel gone, no permission)
    └── CredentialsRejected     never: a person must mend a token or a setting
"""


class BotError(Exception):
    """Base of the errors that one part of the bot raises for another."""


class AnswerError(BotError):
    """There is no answer to be had; `str()` says so in words that the person who asked can act on.

    `status` is the HTTP status that fits: 429 (too many requests, or a quota or budget is used up), 502 (the
    model failed), 503 (it is unavailable) or 504 (it did not answer in time).
    """

    def __init__(self, sentence: str = "", *, status: int = 502) -> None:
        super().__init__(sentence)
        self.status = status


class BudgetSpent(AnswerError):
    """No model may be called for this turn any more today; `str()` says whose budget is used up."""

    def __init__(self, sentence: str, *, status: int = 429) -> None:
        super().__init__(sentence, status=status)


class StopRefused(BotError):
    """Somebody wants to stop what others have asked; `str()` tells them who can."""


class LeaseLost(BotError):
    """Another process holds the thread now: stop, and write nothing more."""


class StillBusy(BotError):
    """Data cannot be erased yet: turns of this many `threads` have not ended in time."""

    def __init__(self, threads: int = 1) -> None:
        super().__init__(f"{threads} threads are being answered")
        self.threads = threads


class StorageDown(BotError):
    """The store of messages and memory failed: the turn is tried again later."""


class FileRefused(BotError):
    """A file that a person sent cannot be had or read; `str()` goes on after “I could not read NAME: ”."""


class FileTooLarge(BotError):
    """A file is larger than what is kept of one."""


class PlatformError(BotError):
    """A chat service refused a request or failed."""


class RateLimited(PlatformError):
    """The service asks to wait `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(PlatformError):
    """The service did not answer, or answered that it is out of order."""


class Undeliverable(PlatformError):
    """The reply can never be shown there: the channel is gone, or the bot may not write in it."""


class CredentialsRejected(PlatformError):
    """The service does not accept our token or settings; the text says which variable to mend."""
