"""Baseline for the bot: a Slack handler that streams a model's answer and remembers nothing.

`python -m benchmarks.bare` follows the documentation of Bolt, slack-sdk and ChatOpenAI.
`python -m benchmarks.bare matched` makes the same calls to Slack as the bot makes for a short answer (status,
start at the first word, stop with the rest, status) over one HTTP session that is kept open.
"""

import asyncio
import os
import sys
from typing import Any

import aiohttp
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

Json = Any


def handler(client: AsyncWebClient, *, matched: bool) -> AsyncApp:
    """Return a Bolt app that answers each mention in its thread."""
    app = AsyncApp(client=client)
    model = ChatOpenAI(
        model=os.environ["OPENAI_MODEL"],
        base_url=os.environ["OPENAI_BASE_URL"],
        api_key=SecretStr(os.environ["OPENAI_API_KEY"]),
        streaming=True,
    )

    @app.event("app_mention")
    async def mentioned(event: dict[str, Json], client: AsyncWebClient) -> None:
        channel, thread = event["channel"], event.get("thread_ts") or event["ts"]
        if matched:
            await client.assistant_threads_setStatus(channel_id=channel, thread_ts=thread, status="thinks…")
        size = 1 if matched else 256  # the helper's default is 256 characters
        stream = await client.chat_stream(
            channel=channel,
            thread_ts=thread,
            recipient_team_id=event["team"],
            recipient_user_id=event["user"],
            buffer_size=size,
        )
        rest = ""
        async for chunk in model.astream([SystemMessage("Be brief."), HumanMessage(event["text"])]):
            if matched and stream.ts:
                rest += chunk.text
            else:
                await stream.append(markdown_text=chunk.text)
        await stream.stop(markdown_text=rest)
        if matched:
            await client.assistant_threads_setStatus(channel_id=channel, thread_ts=thread, status="")

    @app.event("message")
    async def written() -> None:
        """Ignore message events: each mention causes one, too."""

    return app


async def main(*, matched: bool) -> None:
    """Serve until the process ends."""
    async with aiohttp.ClientSession() as session:
        client = AsyncWebClient(
            os.environ["SLACK_BOT_TOKEN"],
            base_url=os.environ["SLACK_API_URL"],
            session=session if matched else None,
        )
        app = handler(client, matched=matched)
        await AsyncSocketModeHandler(app, os.environ["SLACK_APP_TOKEN"]).start_async()  # type: ignore[no-untyped-call]  # Bolt leaves it untyped


if __name__ == "__main__":
    asyncio.run(main(matched="matched" in sys.argv))
