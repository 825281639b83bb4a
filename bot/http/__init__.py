"""HTTP platform: chat as JSON or server-sent events, health, Redis operations, and the page."""

from bot.http.adapter import ADAPTER

__all__ = ["ADAPTER"]
