"""Finished answers: their details, feedback on them, and other answers in their place."""

from bot.access.answers.answer_store import AnswerStore
from bot.access.answers.answers import Answers

__all__ = ["AnswerStore", "Answers"]
