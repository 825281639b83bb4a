"""Registration of Slack. Its client library is imported only when the platform is opened."""

import re
from collections.abc import AsyncIterator, Mapping, Set
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Literal

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
        channel_ids=re.compile(r"([TE][A-Z0-9]{1,20}/)?[CG][A-Z0-9]+"),
        redaction=re.compile(
            r"xox[a-z](?:\.xox[a-z])?-[\w-]+|xapp-[\w-]+"
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
    keeps_secrets_with = "slack_client_id"

    slack_bot_token: Annotated[SecretStr, _begins_with("xoxb-")] | None = Field(
        None, description="Slack bot token (`xoxb-…`); switches Slack on"
    )
    slack_app_token: Annotated[SecretStr, _begins_with("xapp-")] | None = Field(
        None, description="Slack app-level token (`xapp-…`): Socket Mode"
    )
    slack_signing_secret: SecretStr | None = Field(
        None, description="Slack signing secret: HTTP mode at `/slack/events` when there is no app token"
    )
    slack_client_id: str | None = Field(
        None,
        description="client id of a Slack app that users install in many workspaces at `/slack/install`, "
        "instead of SLACK_BOT_TOKEN ([how](slack.md#many-workspaces))",
    )
    slack_client_secret: SecretStr | None = Field(None, description="client secret of that app")
    slack_streaming: Literal["native", "edit"] = Field(
        "native",
        description="how answers grow in channels: `native` streams them, live for the user who asked only; "
        "with `edit` all see a message that is edited ([how](slack.md#what-users-see))",
    )
    slack_api_url: HttpAddress = Field("https://slack.com/api/", description="base of Slack's Web API")

    @property
    def is_configured(self) -> bool:
        """Return whether there is a token, or an app to install."""
        return self.slack_bot_token is not None or self.slack_client_id is not None

    @property
    def mode(self) -> str:
        """Return how events arrive."""
        mode = "on, by Socket Mode" if self.slack_app_token else "on, by HTTP at /slack/events"
        return f"{mode}; installed at /slack/install" if self.slack_client_id else mode

    def problems(self, roles: Set[str]) -> list[str]:
        """Return a sentence for each missing token or role."""
        if (self.slack_client_id is None) != (self.slack_client_secret is None):
            return ["SLACK_CLIENT_ID and SLACK_CLIENT_SECRET: set both, or none of them"]
        if not self.is_configured:
            return [
                f"{name}: needs SLACK_BOT_TOKEN beside it; set that too, or unset {name}"
                for name, value in (
                    ("SLACK_APP_TOKEN", self.slack_app_token),
                    ("SLACK_SIGNING_SECRET", self.slack_signing_secret),
                )
                if value is not None
            ]
        if self.slack_bot_token is not None and self.slack_client_id is not None:
            return [
                "SLACK_CLIENT_ID: the app is installed by its users, SLACK_BOT_TOKEN is one workspace; "
                "unset one of them"
            ]
        switch = "SLACK_CLIENT_ID" if self.slack_client_id else "SLACK_BOT_TOKEN"
        if self.slack_app_token is None and self.slack_signing_secret is None:
            return [f"{switch}: set SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP) beside it"]
        if "slack" in roles and "http" not in roles:
            if self.slack_app_token is None:
                return [
                    "BOT_ROLES: Slack without SLACK_APP_TOKEN needs the role http, which takes its requests"
                ]
            if self.slack_client_id:
                return ["BOT_ROLES: SLACK_CLIENT_ID needs the role http beside slack, for /slack/install"]
        return []

    def id_problem(self, ids: Set[str]) -> str:
        """Return a sentence if an id names its workspace although there is one, or does not in many."""
        if not self.is_configured:
            return ""
        form = _IN_A_WORKSPACE if self.slack_client_id else _ALONE
        wrong = sorted(each for each in ids if each.startswith("slack:") and not form.fullmatch(each))
        if not wrong:
            return ""
        if self.slack_client_id:
            return (
                "with SLACK_CLIENT_ID write each with its workspace, for example slack:T012AB/U012AB, "
                f"because ids are unique in one workspace only; not {wrong[0]!r}"
            )
        return (
            f"with SLACK_BOT_TOKEN write each without a workspace, for example slack:U012AB; not {wrong[0]!r}"
        )


_IN_A_WORKSPACE = re.compile(r"slack:[TE]\w+/\w+", re.ASCII)
_ALONE = re.compile(r"[^/]*")


@asynccontextmanager
async def _open(
    settings: SlackSettings, services: Services, timing: Timing, per_minute: Mapping[str, int]
) -> AsyncIterator[Receiver]:
    from bot.slack.app_credentials import AppCredentials
    from bot.slack.platform import connect

    credentials: AppCredentials | None = None
    if settings.slack_client_id and settings.slack_client_secret:
        secret = settings.slack_client_secret.get_secret_value()
        credentials = AppCredentials(settings.slack_client_id, secret)
    async with connect(
        bot_token=secret_value(settings.slack_bot_token),
        credentials=credentials,
        vault=services.vault,
        app_token=secret_value(settings.slack_app_token),
        signing_secret=secret_value(settings.slack_signing_secret),
        api_url=settings.slack_api_url,
        coordination=services.coordination,
        lookup=services.lookup,
        files=services.files,
        catch_up_hours=services.catch_up_hours,
        bots=services.bots,
        streaming=settings.slack_streaming,
        prompts=services.prompts,
        timing=timing,
        per_minute=per_minute,
    ) as slack:
        yield slack


def build_adapter(timing: Timing, per_minute: Mapping[str, int] = PER_MINUTE) -> Adapter[SlackSettings]:
    """Return the registration of Slack with these durations and rate limits."""
    return Adapter(SlackSettings, partial(_open, timing=timing, per_minute=per_minute))


ADAPTER = build_adapter(Timing())
