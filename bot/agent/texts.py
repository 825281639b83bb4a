"""Sentences of the agent itself: notices within an answer, and the steps that it shows."""

from bot.chat.text import count


def no_answer(rounds: int) -> str:
    """Return the answer of a model that has called tools in every round, and says nothing at the end."""
    return (
        f"I used up the {count(rounds, 'round')} of tool calls for this message and do not have a full "
        "answer. Please ask for a part of it."
    )


FOUND_SO_FAR = "What I found so far:"

BROKEN_OFF = "_The answer was interrupted here. I am starting it again._"

CUT_BY_LENGTH = "_This answer reached the model's length limit. Ask me to continue._"

CUT_BY_FILTER = "_The model service's content filter stopped this answer. Please rephrase your question._"

THOUGHT_ALOUD = "_The text above was the model's reasoning. The answer follows._"


def unknown_request(id: str) -> str:
    """Return the answer to a decision whose approval request was removed."""
    return f"Request `{id}` no longer exists, so nothing was done. Please ask for it again."


def table_size(rows: int, columns: int, *, is_cut: bool) -> str:
    """Return the outcome of a step that found a table; `is_cut`: there are more rows."""
    shown = f"{'the first ' if is_cut else ''}{count(rows, 'row')}"
    return f"{shown}, {count(columns, 'column')}" if columns else shown


def using(tool: str) -> str:
    """Return what is being done while a tool runs that has no words for it."""
    return f"Using {tool}"


ANOTHER_ANSWER = "_Another answer to the same question:_"

NOT_THE_LAST = "Only the last answer of a conversation can be regenerated."
"""Answer to an order to regenerate one, if a newer message came first."""
