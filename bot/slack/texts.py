"""Sentences that only Slack's users read."""

from collections.abc import Iterable

from bot.chat import Prompt
from bot.chat.text import count

THINKING = "is thinking…"
"""Status of a thread; Slack puts the bot's name before it."""

PROMPTS = (
    Prompt("What can you do?", "What can you help me with, and which data can you look up?"),
    Prompt("Look something up", "Which data do you have, and what could I ask about it?"),
    Prompt("Draw a chart", "Draw a chart of something interesting in our data."),
    Prompt("What do you know about me?", "What do you remember about me?"),
)
"""Prompts that are suggested to users without topics of their own."""


def continued(question: str) -> str:
    """Return the message that goes on with a topic of an earlier conversation."""
    return f"Let us go on with this: {question}"


PLAN = "Working on it"
"""Title of the steps before an answer; `plan_done` takes its place."""
PLAN_BROKEN_OFF = "Not finished"


def plan_done(steps: int) -> str:
    """Return the title of the steps of a complete message."""
    return f"Done in {count(steps, 'step')}"


def working(activity: str) -> str:
    """Return the status of a thread in which tools run: “is running a query…”."""
    return f"is {activity[:1].lower()}{activity[1:]}…"


INTERRUPTED = "interrupted; I am starting it again"
"""Outcome of a tool call during which the bot has crashed."""

_ADMINISTRATOR = "Please ask an administrator of the workspace for help"


def refused(code: str) -> str:
    """Return the reason for a part of an answer that Slack refuses, with Slack's error code."""
    return f"Slack does not accept it ({code})."


def answer_refused(code: str) -> str:
    """Return the reason for a whole answer that Slack refuses, with Slack's error code."""
    return f"{refused(code)} {_ADMINISTRATOR}, or ask me again in another channel."


def file_refused(code: str) -> str:
    """Return the reason for a file that Slack refuses, with Slack's error code."""
    return f"{refused(code)} {_ADMINISTRATOR}."


UPLOAD_NOT_ALLOWED = (
    "this Slack app is not allowed to upload files. Please ask the bot's operator to install it again from "
    "manifest.yml (scope files:write)."
)

# reasons why a file of a user cannot be read: they complete “I could not read NAME: ”
FILE_DELETED = "it was deleted"
FILE_HIDDEN = "Slack does not let me see it"
READING_NOT_ALLOWED = "I have no access to it; the app may lack the scope files:read"

MEMORY_USAGE = (
    "You can use: `/agent-memory show`, `/agent-memory list`, `/agent-memory list WORDS`, "
    "`/agent-memory correct ID TEXT`, `/agent-memory forget ID`, `/agent-memory export`, "
    "`/agent-memory forget`, `/agent-memory link`, `/agent-memory link CODE`, `/agent-memory unlink`."
)

NOT_INSTALLED = "I am not installed in your workspace, so you can use no buttons or commands of mine here."

ACCESS_LOST = (
    "I have lost my access to this workspace, so I cannot answer here. An administrator of the workspace has "
    "to install me again, at the address that ends with /slack/install."
)

MEMORY_SENT = "I have sent you a file in our direct messages."


def unknown_command(command: str, known: Iterable[str]) -> str:
    """Return the answer to a command that the bot does not have."""
    return f"I do not know the command {command}. You can use: {', '.join(known)}"


# on the page after an installation
INSTALL_AGAIN = (
    "Nothing was installed: this link has expired or was used, or your browser sent no cookie. Please begin "
    "again at /slack/install."
)
INSTALL_DECLINED = "Nothing was installed, because it was declined. You can begin again at /slack/install."
INSTALL_LATER = (
    "Nothing was installed: Slack or my memory is not responding. Please try again in a few minutes."
)
INSTALL_MISCONFIGURED = (
    "Nothing was installed: Slack refuses the settings of this app. Its operator finds the reason in the log."
)


def installed(workspace: str) -> str:
    """Return the sentence after an installation."""
    return f"I am installed in {workspace}. Invite me into a channel there and mention me, or write to me."
