"""The HTTP surface as the bot registers it. Nothing heavy is imported before it is opened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from bot.chat import PlatformInfo, register
from bot.platforms.adapter import Adapter, PlatformSettings, Receiver, Services, secret_value

INFO = register(PlatformInfo(name="http", title="HTTP", location="over HTTP", has_global_ids=True))

_MIN_TOKEN_CHARS = 16


def _bearer_token(token: SecretStr) -> SecretStr:
    value = token.get_secret_value().strip()
    if len(value) < _MIN_TOKEN_CHARS or not value.isprintable():
        raise ValueError(
            f"must have at least {_MIN_TOKEN_CHARS} printable characters, for example the output of "
            "`openssl rand -hex 32`"
        )
    return SecretStr(value)


class HttpSettings(PlatformSettings):
    """Address of the HTTP surface, and who can call it."""

    info = INFO
    switch = "api_token"
    is_always_on = True

    http_host: str = Field("127.0.0.1", description="address of the HTTP surface and the page")
    http_port: int = Field(8080, ge=0, le=65535, description="port of the HTTP surface; 0 takes a free one")
    api_token: Annotated[SecretStr, AfterValidator(_bearer_token)] | None = Field(
        None,
        description="bearer token of the HTTP surface, 16 characters or more; without one it serves loopback "
        "only ([more](http.md#who-can-call))",
    )


@asynccontextmanager
async def _open(settings: HttpSettings, services: Services) -> AsyncIterator[Receiver]:
    from bot.http.detached import DetachedHttp
    from bot.http.platform import Http
    from bot.http.timing import Timing

    if "http" not in services.roles:
        yield DetachedHttp(services.files)
        return
    yield Http(
        host=settings.http_host,
        port=settings.http_port,
        api_token=secret_value(settings.api_token),
        lookup=services.lookup,
        files=services.files,
        timing=Timing(),
    )


ADAPTER = Adapter(HttpSettings, _open)
