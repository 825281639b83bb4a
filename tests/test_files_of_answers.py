"""The whole bot: a chart and an export that people ask for, from the query to the file they get."""

import io

import aiohttp
from PIL import Image
from python_calamine import CalamineWorkbook
from redis.asyncio import Redis

from tests.servers.discord.service import Discord
from tests.servers.model import KEY, ModelServer, Script
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support.bot import http_port, run_bot
from tests.support.settings import of_slack
from tests.support.wait import wait_until

QUERY = "select status, count(*) as orders from orders group by status order by 2 desc"


async def test_a_chart_over_http_without_any_model(redis_url: str, database_url: str) -> None:
    async with (
        run_bot(redis_url=redis_url, database_url=database_url) as bot,
        aiohttp.ClientSession(f"http://127.0.0.1:{http_port(bot)}") as client,
    ):
        async with client.post("/chat", json={"message": f"CHART: bar {QUERY}"}) as response:
            answer = await response.json()
        [file] = answer["files"]
        assert file["alt"].startswith("Orders by status. Bar chart of Orders over Status (delivered")
        async with client.get(file["url"]) as response:
            assert Image.open(io.BytesIO(await response.read())).format == "PNG"
        async with client.post("/chat", json={"message": f"EXPORT: {QUERY}"}) as response:
            [file] = (await response.json())["files"]
        async with client.get(file["url"]) as response:
            assert (await response.read()).decode("utf-8-sig").startswith("status,orders\r\ndelivered,")


async def test_a_chart_is_drawn_by_slack_and_comes_as_a_picture_into_the_thread_of_discord(
    redis: Redis, redis_url: str, database_url: str, model: ModelServer, slack: Slack, discord: Discord
) -> None:
    def respond(request: dict[str, list[dict[str, str]]]) -> Script | str:
        if request["messages"][-1]["role"] == "tool":
            return "Most orders are delivered."
        wanted = {"query": QUERY, "kind": "bar", "x": "status", "y": "orders", "title": "Orders by status"}
        return Script(text="I draw it.", tool_calls=[("chart", wanted)])

    model.respond = respond
    settings = {
        "slack_bot_token": slack.bot_token,
        "slack_app_token": slack.app_token,
        "slack_api_url": slack.api_url,
        "discord_token": discord.token,
        "discord_api_url": discord.url,
        "openai_api_key": KEY,
        "openai_base_url": model.base_url,
    }
    async with run_bot(redis_url=redis_url, database_url=database_url, **settings):
        await slack.wait_for_connections(2)
        await discord.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} draw the orders")
        await slack.answer(GENERAL, ts, until=lambda text: "delivered" in text)
        [drawn] = [each for each in slack.replies(GENERAL, ts) if each.blocks[:1] and not each.tasks]
        assert drawn.blocks[0]["chart"]["series"][0]["data"][0]["label"] == "delivered"
        assert drawn.text.startswith("Orders by status. Bar chart of Orders over Status")
        question = await discord.say(discord.alice, discord.general, f"{discord.mention} draw the orders")
        thread = await discord.thread_of(question)
        await wait_until(lambda: len(discord.messages(thread)) == 2, "text and picture are there")
        [attached] = [file for each in discord.messages(thread) for file in each.attachments]
        assert Image.open(io.BytesIO(attached.data)).format == "PNG"
        assert attached.description == drawn.text


async def test_a_workbook_comes_into_the_threads_of_slack_and_discord(
    redis: Redis, redis_url: str, database_url: str, model: ModelServer, slack: Slack, discord: Discord
) -> None:
    def respond(request: dict[str, list[dict[str, str]]]) -> Script | str:
        if request["messages"][-1]["role"] == "tool":
            return "There is your list."
        return Script(tool_calls=[("export", {"query": QUERY, "format": "xlsx"})])

    model.respond = respond
    settings = of_slack(slack) | {
        "discord_token": discord.token,
        "discord_api_url": discord.url,
        "openai_api_key": KEY,
        "openai_base_url": model.base_url,
    }
    async with run_bot(redis_url=redis_url, database_url=database_url, **settings):
        await slack.wait_for_connections(2)
        await discord.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} give me the list for Excel")
        await slack.answer(GENERAL, ts, until=lambda text: "your list" in text)
        [file] = [file for each in slack.replies(GENERAL, ts) for file in each.files]
        question = await discord.say(discord.alice, discord.general, f"{discord.mention} the list for Excel")
        thread = await discord.thread_of(question)
        await wait_until(lambda: len(discord.messages(thread)) == 2, "text and workbook are there")
        [attached] = [file for each in discord.messages(thread) for file in each.attachments]
    for content in (file.data or b"", attached.data or b""):
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        assert book.get_sheet_by_name("Rows").to_python()[0] == ["status", "orders"]
    assert file.alt.endswith("and 2 columns as XLSX")
