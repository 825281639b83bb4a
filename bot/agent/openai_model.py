"""ChatOpenAI as our model. Importing it takes over a second, so this is imported only when it is configured.

The OpenAI SDK repeats a request that failed before its stream began (408, 409, 429, 5xx, no connection), with
back-off and `Retry-After`; a stream that breaks later is repeated by `bot.agent.model`.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx2
import openai
from langchain_core.tools import BaseTool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from bot.agent.model import TOO_SLOW, TROUBLE, Candidate, Failure, Model, explain_stream

log = logging.getLogger(__name__)

_SENTENCES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (openai.AuthenticationError, openai.PermissionDeniedError),
        "The model service does not accept our key. Please tell the operator to check OPENAI_API_KEY.",
    ),
    (
        (openai.NotFoundError,),
        "The model service does not know our model. Please tell the operator to check OPENAI_MODEL.",
    ),
    (
        (openai.RateLimitError,),
        "The model service has no capacity for us at the moment. Please ask again in a few minutes.",
    ),
    (
        (openai.BadRequestError,),
        "The model service refused this request. Try a shorter question, or start a new thread.",
    ),
    ((openai.APITimeoutError,), TOO_SLOW),
    ((openai.OpenAIError, httpx2.HTTPError), TROUBLE),
)


_USAGE = "stream_options"
"""The part of a request that asks for what it takes. Some services do not know it, and refuse what has it."""


class _Completions:
    """`chat.completions` as ChatOpenAI streams from it, with chunks as plain dicts.

    The SDK builds a pydantic object of each chunk, which ChatOpenAI turns back into a dict: more than half of
    the processor time of an answer.
    """

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client
        self._tells_usage = True

    async def create(self, **payload: object) -> openai.AsyncStream[object]:
        """Begin a stream that ends with what it took, if the service can. Raises `openai.OpenAIError`."""
        if not self._tells_usage:
            payload.pop(_USAGE, None)
        try:
            return await self._begin(payload)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if _USAGE not in payload or _USAGE not in str(error):
                raise
        self._tells_usage = False
        log.info("the model's service does not tell what a call takes: it is estimated")
        del payload[_USAGE]
        return await self._begin(payload)

    async def _begin(self, payload: Mapping[str, object]) -> openai.AsyncStream[object]:
        return await self._client.post(
            "/chat/completions",
            body=payload,
            cast_to=object,
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )


@asynccontextmanager
async def open_model(
    *,
    name: str,
    fallback: str | None,
    api_key: SecretStr | None,
    base_url: str | None,
    timeout: float,
    tools: Sequence[BaseTool],
) -> AsyncIterator[Model]:
    """ChatOpenAI for `name` and then `fallback`; `timeout` is in seconds, for each next chunk."""
    async with openai.DefaultAsyncHttpxClient(timeout=timeout) as client:
        key = api_key or SecretStr("none")
        sdk = openai.AsyncOpenAI(
            api_key=key.get_secret_value(),
            base_url=base_url,
            timeout=timeout,
            max_retries=2,
            http_client=client,
        )

        def candidate(model: str) -> Candidate:
            chat = ChatOpenAI(
                model=model,
                api_key=key,
                base_url=base_url,
                timeout=timeout,
                stream_chunk_timeout=None,  # costs a task a chunk; Model has one timer
                streaming=True,
                stream_usage=True,
                async_client=_Completions(sdk),
                root_async_client=sdk,
            )
            return Candidate(model, chat, tools, explain)

        names = [name, fallback] if fallback else [name]
        yield Model([candidate(each) for each in names], timeout)


def explain(error: Exception) -> Failure | None:
    """What the person who asked can do about an error of the service; None for an error of ours."""
    for kinds, sentence in _SENTENCES:
        if isinstance(error, kinds):
            # a connection that is lost in mid-stream, seen with openai 3.54 as either of these
            return Failure(
                sentence, stream_broke=isinstance(error, openai.APIConnectionError | httpx2.HTTPError)
            )
    return explain_stream(error)
