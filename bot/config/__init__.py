"""Settings of the bot, read from the environment and `.env`."""

from bot.config.access import secret_value
from bot.config.environment import ConfigError, UnknownName, unknown_names
from bot.config.settings import Role, Settings, load_settings, settings_table
from bot.config.summary import summary

__all__ = [
    "ConfigError",
    "Role",
    "Settings",
    "UnknownName",
    "load_settings",
    "secret_value",
    "settings_table",
    "summary",
    "unknown_names",
]
