"""Settings of the bot, read from the environment and `.env`."""

from bot.config.access import secret_value
from bot.config.connections import connections, is_trial
from bot.config.environment import ConfigError, UnknownName, unknown_names
from bot.config.platform import HttpAddress, PlatformSettings
from bot.config.settings import WORKER, Settings, load_settings, settings_with
from bot.config.summary import summary
from bot.config.table import settings_table

__all__ = [
    "WORKER",
    "ConfigError",
    "HttpAddress",
    "PlatformSettings",
    "Settings",
    "UnknownName",
    "connections",
    "is_trial",
    "load_settings",
    "secret_value",
    "settings_table",
    "settings_with",
    "summary",
    "unknown_names",
]
