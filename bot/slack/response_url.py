"""Answering an interaction after it was acknowledged.

https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
"""

import logging

import aiohttp

log = logging.getLogger(__name__)


async def respond(session: aiohttp.ClientSession, url: str, text: str) -> None:
    """Show `text` to the caller alone; a failure is only logged, as nobody can be told."""
    # not Bolt's respond(): it takes a proxy from the environment and opens a session for each answer
    try:
        async with session.post(url, json={"response_type": "ephemeral", "text": text}) as response:
            response.raise_for_status()
    except (aiohttp.ClientError, TimeoutError) as error:
        # no more of it: the address lets whoever knows it answer in our name
        told = {"error": type(error).__name__, "status": getattr(error, "status", None)}
        log.warning("A command was not answered", extra=told)
