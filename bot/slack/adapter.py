"""Registration of Slack. Its client library is imported only when the platform is opened."""

import re
from collections.abc import AsyncIterator, Mapping, Set
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from bot.chat import PlatformInfo, register
from bot.platforms.adapter import Adapter, HttpAddress, PlatformSettings, Receiver, Services, secret_value
from bot.slack.rate_limits import PER_MINUTE
from bot.slack.timing import Timing

INFO = register(
    PlatformInfo(
        name="slack",
        title="Slack",
        location="on Slack",
        user_example="U012AB",
        channel_example="C012AB",
        channel_ids=re.compile(r"[CG][A-Z0-9]+"),
        redaction=re.compile(
            r"xox[a-z]-[\w-]+|xapp-[\w-]+"
            # secret addresses: they let anyone answer a command or open a socket
            r"|(?<=hooks\.slack\.com/)[\w/.-]+|(?<=[?&]ticket=)[\w%-]+"
        ),
    )
)


def _begins_with(prefix: str) -> AfterValidator:
    def check(token: SecretStr) -> SecretStr:
        if not token.get_secret_value().startswith(prefix):
            raise ValueError(f"must begin with {prefix}")
        return token

    return AfterValidator(check)


class SlackSettings(PlatformSettings):
    """Settings of Slack: tokens and API address."""

    info = INFO
    switch = "slack_bot_token"
    advice = "set SLACK_BOT_TOKEN and SLACK_APP_TOKEN (docs/slack.md)"

    slack_bot_token: Annotated[SecretStr, _begins_with("xoxb-")] | None = Field(
        None, description="Slack bot token (`xoxb-…`); switches Slack on"
    )
    slack_app_token: Annotated[SecretStr, _begins_with("xapp-")] | None = Field(
        None, description="Slack app-level token (`xapp-…`): Socket Mode"
    )
    slack_signing_secret: SecretStr | None = Field(
        None, description="Slack signing secret: HTTP mode at `/slack/events` when there is no app token"
    )
    slack_api_url: HttpAddress = Field("https://slack.com/api/", description="base of Slack's Web API")

    @property
    def mode(self) -> str:
        """Return how events arrive."""
        return "on, by Socket Mode" if self.slack_app_token else "on, by HTTP at /slack/events"

    def problems(self, roles: Set[str]) -> list[str]:
        """Return a sentence for each missing token or role."""
        if self.slack_bot_token is None:
            return [
                f"{name}: needs SLACK_BOT_TOKEN beside it; set that too, or unset {name}"
                for name, value in (
                    ("SLACK_APP_TOKEN", self.slack_app_token),
                    ("SLACK_SIGNING_SECRET", self.slack_signing_secret),
                )
                if value is not None
            ]
        if self.slack_app_token is None and self.slack_signing_secret is None:
            return [
                "SLACK_BOT_TOKEN: set SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP) beside it"
            ]
        if self.slack_app_token is None and "slack" in roles and "http" not in roles:
            return ["BOT_ROLES: Slack without SLACK_APP_TOKEN needs the role http, which takes its requests"]
        return []


@asynccontextmanager
async def _open(
    settings: SlackSettings, services: Services, timing: Timing, per_minute: Mapping[str, int]
) -> AsyncIterator[Receiver]:
    from bot.slack.platform import connect

    assert settings.slack_bot_token is not None
    async with connect(
        bot_token=settings.slack_bot_token.get_secret_value(),
        app_token=secret_value(settings.slack_app_token),
        signing_secret=secret_value(settings.slack_signing_secret),
        api_url=settings.slack_api_url,
        coordination=services.coordination,
        lookup=services.lookup,
        files=services.files,
        catch_up_hours=services.catch_up_hours,
        bots=services.bots,
        timing=timing,
        per_minute=per_minute,
    ) as workspace:
        yield workspace


def build_adapter(timing: Timing, per_minute: Mapping[str, int] = PER_MINUTE) -> Adapter[SlackSettings]:
    """Return the registration of Slack with these durations and rate limits."""
    return Adapter(SlackSettings, partial(_open, timing=timing, per_minute=per_minute))


ADAPTER = build_adapter(Timing())
