"""The agent: a LangGraph ReAct loop with its memory in Redis."""

from bot.agent.agent import Agent, open_agent
from bot.agent.images import see_nothing, seeing
from bot.agent.models.model import Model, offline_model

__all__ = ["Agent", "Model", "offline_model", "open_agent", "see_nothing", "seeing"]
