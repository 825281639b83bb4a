"""Floor of the contest: Bolt and aiohttp stream the model's answer into Slack, and nothing is remembered.

Reads what the bot reads and shows what it shows, in the two calls that a short answer takes.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from benchmarks.event_loop import record_lag

Json = Any
APPEND_EVERY = 1.0


def floor(client: AsyncWebClient, session: aiohttp.ClientSession) -> AsyncApp:
    """Return a Bolt app that answers each mention in its thread."""
    app = AsyncApp(client=client)

    @app.event("app_mention")
    async def answer(event: dict[str, Json]) -> None:
        channel, thread = event["channel"], event.get("thread_ts") or event["ts"]
        ts, shown_at, text = "", 0.0, ""
        async for piece in stream(session, event["text"]):
            text += piece
            if not ts:
                started = await client.chat_startStream(
                    channel=channel,
                    thread_ts=thread,
                    recipient_team_id=event["team"],
                    recipient_user_id=event["user"],
                    markdown_text=text,
                )
                ts, shown_at, text = started["ts"], time.monotonic(), ""
            elif time.monotonic() - shown_at > APPEND_EVERY:
                await client.chat_appendStream(channel=channel, ts=ts, markdown_text=text)
                shown_at, text = time.monotonic(), ""
        await client.chat_stopStream(channel=channel, ts=ts, markdown_text=text)

    @app.event("message")
    async def ignore() -> None:
        """Ignore message events: each mention causes one, too."""

    return app


async def stream(session: aiohttp.ClientSession, question: str) -> AsyncIterator[str]:
    """Yield the pieces of the model's answer."""
    body = {
        "model": os.environ["OPENAI_MODEL"],
        "stream": True,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}],
    }
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
    async with session.post(url, json=body, headers=headers) as response:
        response.raise_for_status()
        async for line in response.content:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    if text := choice["delta"].get("content"):
                        yield text


async def main() -> None:
    """Serve until the process ends."""
    async with aiohttp.ClientSession() as session, record_lag():
        client = AsyncWebClient(
            os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"], session=session
        )
        handler = AsyncSocketModeHandler(floor(client, session), os.environ["SLACK_APP_TOKEN"])
        await handler.start_async()  # type: ignore[no-untyped-call]  # Bolt leaves it untyped


if __name__ == "__main__":
    asyncio.run(main())
