"""Sentences to users that several rooms say: the ends of a turn, and errors.

The sentences of one subject are in the `texts.py` of the room that owns it.
"""

STOPPED = "Stopped."

QUESTION_DELETED = "Stopped because the question was deleted."

STEP_STOPPED = "stopped before it ended"
"""Outcome of a tool call that was running when its answer ended early."""

NOT_THEIRS = (
    "I am not working on anything here that you asked for. Only the person who asked, an administrator of "
    "the bot, or somebody who can approve the request here can stop me."
)

NO_STORAGE = "I cannot reach my storage at the moment. Please try again in a minute."


def too_long(seconds: float) -> str:
    """Return the end of a turn that has used its time."""
    minutes = f"{seconds / 60:g}"
    return (
        f"I stopped here because this took longer than {minutes} minute{'' if minutes == '1' else 's'}. "
        "Please ask again, or for a part of it."
    )


def turn_failed(reference: str) -> str:
    """Return the end of a turn with an unexpected error."""
    return (
        f"Something went wrong on my side, and I could not finish this. Please ask again; {_again(reference)}"
    )


def given_up(reference: str) -> str:
    """Return the end of a turn that failed on every attempt."""
    return f"I tried this several times and could not finish it. {_report(reference)}"


def hung(reference: str) -> str:
    """Return the end of a turn during which the process hung."""
    return f"I stopped responding twice while working on this, so I gave up. {_report(reference)}"


def command_failed(reference: str | int) -> str:
    """Return the answer to a command, button or request with an unexpected error."""
    return f"Something went wrong on my side. Please try again; {_again(reference)}"


def _again(reference: str | int) -> str:
    return f"if it fails again, give this reference to the bot's operator: `{reference}`."


def _report(reference: str) -> str:
    return f"To have it looked into, give this reference to the bot's operator: `{reference}`."


def file_too_large(most_bytes: int) -> str:
    """Return the reason why a file of this size or more is not read."""
    return f"it is larger than {most_bytes / (1 << 20):.3g} MiB, which is the most that I read"
