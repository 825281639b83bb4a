"""Threadmate, a chat agent for Slack, Discord and HTTP on one event loop, with its memory in Redis."""

__version__ = "0.1.0"
