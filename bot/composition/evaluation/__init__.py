"""`bot eval`: scenarios that are told to the agent with its real model, scored and compared."""

from bot.composition.evaluation.command import Options, run

__all__ = ["Options", "run"]
