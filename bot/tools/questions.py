"""Tool `ask_user`: a question to the user whom the agent works for, whose answer is its result."""

from typing import Annotated

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import BaseModel, Field, StringConstraints, field_validator

from bot.chat.text import one_line, visible
from bot.tools.context import turn_of
from bot.tools.waiting import AskingTool

ASK_USER = "ask_user"

MOST_QUESTION = 1_000
MOST_OPTION = 75
"""Most characters of a question, and of an option, which is the label of a button on Slack."""

MOST_OPTIONS = 25
"""Most options of a menu on Discord."""

_DESCRIPTION = """\
Ask the user whom you work for one question, and continue with their answer. Use it when you cannot go on \
without a choice or a fact that only they know; do not ask for what you can look up, and do not use it for \
approvals. The user sees the options as buttons and can always answer in other words. Call it alone."""


class AskUserArguments(BaseModel):
    """Arguments of `ask_user`."""

    question: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_QUESTION)
    ] = Field(description="The question in one or two sentences of Markdown, without the options")
    options: list[Annotated[str, StringConstraints(max_length=MOST_OPTION)]] | None = Field(
        None,
        max_length=MOST_OPTIONS,
        description=f"Short answers to choose from, at most {MOST_OPTIONS}; omit them for an open question",
    )
    anyone: bool = Field(
        False,
        description="true: everybody in the conversation can answer; false: only the user who asked you",
    )

    @field_validator("question")
    @classmethod
    def check_text(cls, question: str) -> str:
        """Return the question. Raises `ValueError` if nothing of it can be seen."""
        if not visible(question, MOST_QUESTION):
            raise ValueError("the question must have a text")
        return question

    @field_validator("options")
    @classmethod
    def clean_options(cls, options: list[str] | None) -> list[str] | None:
        """Return the options without invisible characters. Raises `ValueError` if two look alike."""
        shown = [one_line(visible(each, MOST_OPTION)) for each in options or ()]
        if not all(shown) or len({each.casefold() for each in shown}) < len(shown):
            raise ValueError("each option must have a text, different from the others")
        return shown or None


def ask_user() -> BaseTool:
    """Return the tool; it runs once a user has pressed a button, so its turn has the answer."""

    async def ask(
        question: str, config: RunnableConfig, options: list[str] | None = None, anyone: bool = False
    ) -> str:
        decision = turn_of(config).decision
        assert decision is not None  # a call that waits runs only after a decision
        who = "The user" if decision.by in decision.askers else "Another user in the conversation"
        verb = "has chosen" if decision.reason in (options or ()) else "has answered"
        return f"{who} {verb}: {decision.reason}"

    return AskingTool.from_function(
        coroutine=ask,
        name=ASK_USER,
        description=_DESCRIPTION,
        args_schema=AskUserArguments,
        metadata={"title": "Ask a question", "activity": "Asking a question"},
    )
