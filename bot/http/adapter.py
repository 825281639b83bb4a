"""The HTTP surface as the bot registers it. Nothing heavy is imported before it is opened."""

import re
from collections.abc import AsyncIterator, Mapping, Set
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from bot.chat import PlatformInfo, register
from bot.http.credentials import SHARED, Credentials, TrustedProxy
from bot.platforms.adapter import Adapter, PlatformSettings, Receiver, Services, secret_value

INFO = register(PlatformInfo(name="http", title="HTTP", location="over HTTP", has_global_ids=True))

_MIN_TOKEN_CHARS = 16


_NAME = re.compile("[a-z0-9][a-z0-9._-]{0,39}")
_HEADER = re.compile("[A-Za-z0-9-]{1,100}")


def _bearer_token(token: SecretStr) -> SecretStr:
    value = token.get_secret_value().strip()
    if len(value) < _MIN_TOKEN_CHARS or not value.isprintable():
        raise ValueError(
            f"must have at least {_MIN_TOKEN_CHARS} printable characters, for example the output of "
            "`openssl rand -hex 32`"
        )
    return SecretStr(value)


def _named_tokens(value: object) -> object:
    """Return the tokens of `name:token,name:token`, by name. Raises `ValueError`, without a token."""
    if not isinstance(value, str):
        return value
    tokens: dict[str, SecretStr] = {}
    for number, entry in enumerate(filter(None, map(str.strip, value.split(","))), 1):
        name, _, token = map(str.strip, entry.partition(":"))
        if not token or not _NAME.fullmatch(name):
            raise ValueError(
                f"write each as name:token, with a name of a-z, 0-9, '.', '_' and '-'; number {number} is not"
            )
        if name == SHARED:
            raise ValueError(f"the name {SHARED} belongs to API_TOKEN")
        if name in tokens:
            raise ValueError(f"the name {name} is there twice")
        tokens[name] = _bearer_token(SecretStr(token))
    if len({each.get_secret_value() for each in tokens.values()}) < len(tokens):
        raise ValueError("two names have the same token")
    return tokens


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name) or name.lower() == "authorization":
        raise ValueError("must be the name of a header, for example X-Forwarded-User")
    return name


Token = Annotated[SecretStr, AfterValidator(_bearer_token)]


class HttpSettings(PlatformSettings):
    """Address of the HTTP surface, and who can call it."""

    info = INFO
    switch = "api_token"
    is_always_on = True

    http_host: str = Field("127.0.0.1", description="address of the HTTP surface and the page")
    http_port: int = Field(8080, ge=0, le=65535, description="port of the HTTP surface; 0 takes a free one")
    api_token: Token | None = Field(
        None,
        description="bearer token of the HTTP surface, 16 characters or more; without one it serves loopback "
        "only ([more](http.md#who-can-call))",
    )
    api_tokens: Annotated[Mapping[str, SecretStr], NoDecode, BeforeValidator(_named_tokens)] = Field(
        {},
        description="further tokens, `name:token,…`: each is a person with threads and memory of their own, "
        "`http:<name>` in the lists of users ([more](http.md#who-can-call))",
    )
    trusted_user_header: Annotated[str, AfterValidator(_header)] | None = Field(
        None,
        description="header in which a proxy names the user whom it has authenticated; only with "
        "TRUSTED_PROXY_TOKEN ([more](http.md#users-of-a-proxy))",
    )
    trusted_proxy_token: Token | None = Field(
        None, description="bearer token with which that proxy authenticates itself"
    )

    @property
    def is_configured(self) -> bool:
        """Return whether callers have to authenticate."""
        return bool(self.credentials)

    @property
    def credentials(self) -> Credentials:
        """Return the credentials of all callers."""
        tokens = {name: token.get_secret_value() for name, token in self.api_tokens.items()}
        if shared := secret_value(self.api_token):
            tokens = {SHARED: shared, **tokens}
        header, token = self.trusted_user_header, secret_value(self.trusted_proxy_token)
        return Credentials(tokens, TrustedProxy(header, token) if header and token else None)

    def problems(self, roles: Set[str]) -> list[str]:
        """Return the tokens that stand for two callers, and half of the settings of a proxy."""
        values = [*self.credentials.tokens.values(), secret_value(self.trusted_proxy_token)]
        known = [each for each in values if each]
        found = []
        if len(set(known)) < len(known):
            found.append("API_TOKEN, API_TOKENS, TRUSTED_PROXY_TOKEN: two of them have the same token")
        if (self.trusted_user_header is None) != (self.trusted_proxy_token is None):
            found.append("TRUSTED_USER_HEADER and TRUSTED_PROXY_TOKEN: set both, or none")
        return found


@asynccontextmanager
async def _open(settings: HttpSettings, services: Services) -> AsyncIterator[Receiver]:
    from bot.http.detached import DetachedHttp
    from bot.http.platform import Http
    from bot.http.timing import Timing

    if "http" not in services.roles:
        yield DetachedHttp(services.files, services.conversations)
        return
    yield Http(
        host=settings.http_host,
        port=settings.http_port,
        credentials=settings.credentials,
        lookup=services.lookup,
        files=services.files,
        conversations=services.conversations,
        timing=Timing(),
        senders=services.hooks,
    )


ADAPTER = Adapter(HttpSettings, _open)
