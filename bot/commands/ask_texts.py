"""Texts of shortcuts and commands with which users ask, the same on every platform."""

ASK = "Ask the agent"
ASK_DESCRIPTION = "Ask a question; the answer comes in our direct messages"
ASK_ABOUT = "Ask the agent about this"
ASK_ABOUT_DESCRIPTION = "Ask a question about this message; the answer comes in its thread"
"""Names of the shortcuts; Slack takes at most 24 characters of a name."""

FORM_QUESTION = "Your question"
FORM_FILES = "Files for the agent to read"
FORM_SEND = "Ask"
FORM_CANCEL = "Cancel"

ABOUT = "Please look at this message and tell me what is important about it, or answer it."
"""Question about a message if the user writes none; the model reads it as theirs."""

SUBJECT = "the message that this question is about"
"""Source of the quote, as in `Quote`."""

NOT_TAKEN = "I could not take this question. Please send it again in a minute."
NO_FORM = "I could not open the form. Please try again."


def asked(name: str) -> str:
    """Return the words before a question that is shown in the name of a user."""
    return f"{name} asks:"


OPTION_QUESTION = "Your question"
OPTION_ATTACHMENT = "A file for the agent to read"
OPTION_PRIVATE = "Show the answer only to you"
"""Descriptions of the options of `/ask`."""

COMMAND = "Ask the agent a question"
WHOLE_ANSWER = "-# The whole answer is in the file."
MORE_REQUESTS = "There is no room here for all requests. Please ask again without `private`."
TOO_MANY_FILES = "A private answer has room for nine files. Please ask again without `private`."
PRESS = "Press a button to answer."
CHOOSE = "Choose an answer from the menu, or press the button to write one."
WRITE = "Press the button to write your answer."
"""Ways to answer a question in a private answer: nobody can write there."""

NOT_SHOWN_THERE = "I could not show my answer to your private question where you asked it:"
SHOWN_DIRECTLY = "I could not show my answer here; it is in our direct messages."
SHOWN_NOWHERE = (
    "I could not show my answer here, and you take no direct messages from me. Allow them, and ask again."
)
