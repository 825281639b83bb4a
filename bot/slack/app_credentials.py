"""Credentials of the app, with which it gets the tokens of workspaces.

https://docs.slack.dev/reference/methods/oauth.v2.access. Not slack-sdk's `oauth_v2_access` and
`AsyncTokenRotator`: they use aiohttp's `BasicAuth`, which is deprecated and warns at each call.
"""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.chat import Json
from bot.slack.api import Clients
from bot.slack.block_text import word
from bot.slack.errors import Refused, translate_errors

_METHOD = "oauth.v2.access"


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """Token of a bot. With token rotation it ends at `expires_at` (Unix seconds), else that is 0."""

    token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    answer: Mapping[str, Json] = field(repr=False)
    """Slack's answer, which names the workspace."""


@dataclass(frozen=True, slots=True)
class AppCredentials:
    """SLACK_CLIENT_ID and SLACK_CLIENT_SECRET."""

    id: str
    secret: str = field(repr=False)

    async def exchange(self, clients: Clients, **arguments: str) -> IssuedToken:
        """Return the token for a code or for a refresh token. Raises `PlatformError`.

        The request is never repeated: each of these can be used once.
        """
        basic = base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()
        with translate_errors(_METHOD, "SLACK_CLIENT_SECRET"):
            response = await clients.writer.api_call(
                _METHOD, data=arguments, headers={"Authorization": f"Basic {basic}"}
            )
        answer: Mapping[str, Json] = response.data if isinstance(response.data, dict) else {}
        token, seconds = word(answer.get("access_token")), answer.get("expires_in")
        if not token or answer.get("token_type") != "bot":
            raise Refused(_METHOD, "no bot token")
        expires_at = time.time() + seconds if isinstance(seconds, int) and seconds > 0 else 0.0
        return IssuedToken(token, word(answer.get("refresh_token")), expires_at, answer)
