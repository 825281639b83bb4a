"""Answers of a story's model, as the model server gives them."""

import re

from bot.composition.evaluation.scenario import ModelAnswers
from tests.servers.model import Script


def script_of(step: ModelAnswers) -> Script:
    """Return an answer: a text, which may never end, or calls of tools."""
    if not isinstance(step.model, str):
        return Script(tool_calls=[*step.model.items()])
    if step.stalls:
        words = len(re.findall(r"\s*\S+", step.model))
        return Script(text=f"{step.model} …", fault="stall", break_after=words + 1)
    return Script(text=step.model)
