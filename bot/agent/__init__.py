"""The agent: a LangGraph ReAct loop with its memory in Redis."""

from bot.agent.agent import Agent, open_agent
from bot.agent.model import Model, offline_model
from bot.agent.pictures import see_nothing, seeing

__all__ = ["Agent", "Model", "offline_model", "open_agent", "see_nothing", "seeing"]
