"""HTTP platform: chat as JSON or server-sent events, health, Redis operations, and the page."""

from bot.http.chat import AUTHOR
from bot.http.detached import AbsentHttp
from bot.http.errors import Handler
from bot.http.platform import Http, connect

__all__ = ["AUTHOR", "AbsentHttp", "Handler", "Http", "connect"]
