"""The agent: a LangGraph ReAct loop with its memory in Redis."""

from bot.agent.agent import Agent, open_agent
from bot.agent.models.model import Model, offline_model
from bot.agent.personal_data import ThreadData

__all__ = ["Agent", "Model", "ThreadData", "offline_model", "open_agent"]
