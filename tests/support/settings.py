"""Settings of the bot for the test servers of the services that it uses."""

import os
import socket
from typing import Any

import pytest

from tests.servers.discord.service import Discord
from tests.servers.model import KEY, ModelServer
from tests.servers.slack.service import Slack


def of_model(model: ModelServer) -> dict[str, Any]:
    return {"openai_api_key": KEY, "openai_base_url": model.base_url, "openai_model": "main-model"}


def is_slack_over_http() -> bool:
    """Return whether the tests that do not choose run with Slack's HTTP mode: TEST_SLACK_MODE=http."""
    return os.environ.get("TEST_SLACK_MODE") == "http"


needs_sockets = pytest.mark.skipif(is_slack_over_http(), reason="it is about Slack's sockets")
"""Mark of tests that are about one mode, or about the costs or the free pages of the bot in it."""


def of_slack(slack: Slack, *, is_http: bool | None = None) -> dict[str, Any]:
    """Return the settings of the app; in HTTP mode with a free port, to which `slack` delivers."""
    common = {"slack_bot_token": slack.bot_token, "slack_api_url": slack.api_url}
    if not (is_slack_over_http() if is_http is None else is_http):
        return common | {"slack_app_token": slack.app_token}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    slack.request_url = f"http://127.0.0.1:{port}/slack/events"
    return common | {"slack_signing_secret": slack.signing_secret, "http_port": port}


def of_discord(discord: Discord) -> dict[str, Any]:
    return {"discord_token": discord.token, "discord_api_url": discord.url}
