"""Conversation settings, a part of `Settings`: instructions, and which messages are answered."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode

from bot.chat import FollowUp, Prompt
from bot.config.access import split_commas
from bot.config.environment import ConfigError
from bot.config.prompts import parse_prompts

MOST_INSTRUCTIONS = 10_000
"""Most characters of the deployment's instructions, about 2,500 tokens of each request to the model."""


def limited(text: str) -> str:
    """Return instructions without surrounding blanks. Raises `ValueError` for long ones."""
    text = text.strip()
    if len(text) > MOST_INSTRUCTIONS:
        raise ValueError(f"use {MOST_INSTRUCTIONS:,} characters at most")
    return text


class ConversationSettings(BaseSettings):
    """Instructions for the model, and the messages that are answered."""

    instructions: Annotated[str, AfterValidator(limited)] = Field(
        "",
        description="your own instructions for the model, part of each request: who you are, what the bot is "
        f"for, how it answers; at most {MOST_INSTRUCTIONS:,} characters",
    )
    instructions_file: Path | None = Field(
        None, description="UTF-8 text file with the instructions, in place of INSTRUCTIONS"
    )
    channel_models: Annotated[frozenset[str], NoDecode, BeforeValidator(split_commas)] = Field(
        frozenset(),
        description="models besides OPENAI_MODEL that administrators can choose for a channel with "
        "`/agent-channel model`, separated by commas",
    )
    follow_up: FollowUp = Field(
        "partner",
        description="messages without a mention that are answered in a thread where the bot takes part: "
        "`always` all, `mention` none, `partner` those of one single user who talks with the bot "
        "([how](conversations.md#when-it-answers))",
    )

    suggested_prompts: Annotated[tuple[Prompt, ...] | None, NoDecode, BeforeValidator(parse_prompts)] = Field(
        None,
        description="what users may ask, shown when they open their direct messages on Slack "
        "([how](slack.md#suggested-prompts)): at most four; `[]`: none; default a user's own topics",
    )

    answer_buttons: bool = Field(
        True,
        description="`false`: answers have no buttons for feedback, another answer and details "
        "([what they do](conversations.md#buttons-below-an-answer))",
    )

    def read_instructions(self) -> str:
        """Return the text of INSTRUCTIONS or INSTRUCTIONS_FILE. Raises `ConfigError`."""
        if self.instructions_file is None:
            return self.instructions
        try:
            return _read(self.instructions_file)
        except ValueError as error:
            raise ConfigError([f"INSTRUCTIONS_FILE: {error}"]) from None

    def instruction_problems(self) -> list[str]:
        """Return what the operator has to fix in the two variables."""
        if self.instructions and self.instructions_file:
            return ["INSTRUCTIONS_FILE: unset it or INSTRUCTIONS, since only one of them can be used"]
        try:
            self.read_instructions()
        except ConfigError as error:
            return error.problems
        return []


def _read(path: Path) -> str:
    """Return the instructions in a file. Raises `ValueError`."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe could wait for ever
            raise ValueError(f"{path} is not a file")
        with path.open(encoding="utf-8-sig") as file:
            return limited(file.read(2 * MOST_INSTRUCTIONS))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8") from None
