"""Check of the model service at start, so that the operator notices a wrong key or model before users do."""

import json
import logging
from collections.abc import Sequence

import aiohttp
from pydantic import SecretStr

from bot.agent.models.openai_service import endpoint, proxy_for, service_headers
from bot.chat import CredentialsRejected, Json

log = logging.getLogger(__name__)

SECONDS = 5.0
_MOST_BYTES = 8 << 20


async def check_model_service(
    *,
    api_key: SecretStr | None,
    base_url: str | None,
    models: Sequence[tuple[str, str]],
    seconds: float = SECONDS,
) -> None:
    """List the service's models and log the configured `models` (after their settings) that are missing.

    A service that does not answer is logged only. Raises `CredentialsRejected` if the key is refused.
    """
    url = endpoint(base_url, "models")
    limit = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, proxy=proxy_for(url)) as session,
            session.get(url, headers=service_headers(api_key, url), allow_redirects=False) as response,
        ):
            status, body = response.status, await response.content.read(_MOST_BYTES)
            while len(body) < _MOST_BYTES and (more := await response.content.read(_MOST_BYTES - len(body))):
                body += more
    except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
        what = {"error": type(error).__name__, "hint": "check OPENAI_BASE_URL"}
        log.warning("model service unreachable", extra=what)
        return
    if status == 401:
        raise CredentialsRejected(
            "OPENAI_API_KEY: the model service does not accept this key; set a valid one, or unset it"
        )
    offered = _ids(body) if status == 200 else frozenset()
    for setting, name in models:
        if offered and name not in offered:
            log.warning("model not listed by its service", extra={"model": name, "setting": setting})


def _ids(body: bytes) -> frozenset[str]:
    """Return the ids of a list of models, or none if the body is something else, as some services send."""
    try:
        listed: Json = json.loads(body)["data"]
        return frozenset(str(each["id"]) for each in listed)
    except (ValueError, LookupError, TypeError, RecursionError):
        return frozenset()
