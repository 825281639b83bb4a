"""A first call to the model's service, so that a wrong key or model is noticed at start and not by a user."""

import logging
from collections.abc import Mapping

import openai
from pydantic import SecretStr

from bot.chat import CredentialsRejected

log = logging.getLogger(__name__)

SECONDS = 5.0


async def check_model_service(
    *, api_key: SecretStr | None, base_url: str | None, models: Mapping[str, str], seconds: float = SECONDS
) -> None:
    """List the service's models, as far as it can do that; `models` are ours, by their settings.

    A model that is not listed and a service that does not answer are logged: both may change.
    Raises `CredentialsRejected` when the key is refused.
    """
    key = api_key.get_secret_value() if api_key else "none"
    async with openai.AsyncOpenAI(api_key=key, base_url=base_url, timeout=seconds, max_retries=0) as client:
        try:
            offered = {each.id for each in (await client.models.list()).data}
        except openai.AuthenticationError as error:
            raise CredentialsRejected(
                "OPENAI_API_KEY: the model service does not accept this key; set a valid one, or unset it"
            ) from error
        except openai.APIConnectionError as error:
            hint = "check OPENAI_BASE_URL"
            log.warning("model service not reached", extra={"error": str(error), "hint": hint})
            return
        except (openai.OpenAIError, AttributeError, TypeError, ValueError):  # it cannot list its models
            return
    for setting, name in models.items():
        if offered and name not in offered:
            log.warning("model not listed by its service", extra={"model": name, "setting": setting})
