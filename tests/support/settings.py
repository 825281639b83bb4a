"""Settings of the bot for the test servers of the services that it uses."""

from typing import Any

from tests.servers.discord.service import Discord
from tests.servers.model import KEY, ModelServer
from tests.servers.slack.service import Slack


def of_model(model: ModelServer) -> dict[str, Any]:
    return {"openai_api_key": KEY, "openai_base_url": model.base_url, "openai_model": "main-model"}


def of_slack(slack: Slack) -> dict[str, Any]:
    return {
        "slack_bot_token": slack.bot_token,
        "slack_app_token": slack.app_token,
        "slack_api_url": slack.api_url,
    }


def of_discord(discord: Discord) -> dict[str, Any]:
    return {"discord_token": discord.token, "discord_api_url": discord.url}
