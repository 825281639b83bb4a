"""Stories about what answers look like, and what becomes of them in trouble."""

import asyncio
import re

from tests.servers.model import Script
from tests.support.contract.feature import Feature
from tests.support.contract.place import Place, answer, asked_of
from tests.support.contract.slack_place import SlackPlace
from tests.support.wait import wait_until

_QUERY = "select status, count(*) as orders from orders group by status order by 2 desc"
_HOSTILE = "@everyone @here <!channel> <!here> {alice} [tea](https://tea.example)"


async def growing(place: Place) -> None:
    """The text before a tool is shown while the rest is not written yet."""
    gate = asyncio.Event()
    first = Script(text="Let me look at the clock.", tool_calls=[("current_time", {})])
    place.model.script(first, Script(text="It is noon.", gate=gate))
    await place.ask("what time is it?")
    await wait_until(lambda: any("Let me look" in each.text for each in place.shown()), "it begins")
    assert "It is noon." not in place.shown()[-1].text
    gate.set()
    await answer(place, "Let me look", "It is noon.")
    assert len(place.shown()) == 1


async def step(place: Place) -> None:
    query = "select * from generate_series(1, 3) as n"
    place.model.script(Script(tool_calls=[("sql_query", {"query": query})]), "There are three.")
    await place.ask("count")
    shown = await answer(place, "There are three.")
    assert re.search(r"3 rows.*\d\.\d s", shown.text), shown.text


async def long_answer(place: Place) -> None:
    lines = [
        f"{number}. A line of a long answer about tea, its origin and its price." for number in range(170)
    ]
    place.model.script("\n".join(lines))
    await place.ask("tell me everything")
    await answer(place, lines[-1][5:])
    text = "\n".join(each.text for each in place.shown())
    assert len(place.shown()) > 1
    assert [each for each in lines if each not in text] == []


async def table(place: Place) -> None:
    """The rows are from the database, not from the model."""
    call = ("table", {"query": _QUERY, "title": "Orders by status"})
    place.model.script(Script(tool_calls=[call]), "Most are delivered.")
    await place.ask("show the orders")
    await answer(place, "Most are delivered.")
    await wait_until(lambda: any("cancelled" in each.text for each in place.shown()), "the table is shown")


async def chart(place: Place) -> None:
    """Slack draws it itself."""
    wanted = {"query": _QUERY, "kind": "bar", "x": "status", "y": "orders", "title": "Orders by status"}
    place.model.script(Script(tool_calls=[("chart", wanted)]), "Most are delivered.")
    await place.ask("draw the orders")
    await answer(place, "Most are delivered.")
    files = [name for each in place.shown() for name in each.files]
    assert len(files) == 1
    assert (files[0] == "") == isinstance(place, SlackPlace), files


async def file_out(place: Place) -> None:
    place.model.script(Script(tool_calls=[("export", {"query": _QUERY})]), "Here it is.")
    await place.ask("export the orders")
    await answer(place, "Here it is.")
    assert [name[-4:] for each in place.shown() for name in each.files] == [".csv"]


async def file_in(place: Place) -> None:
    place.model.script("4,711 in January.")
    await place.ask("what is in it?", files=[("sales.csv", "text/csv", b"month,revenue\r\nJanuary,4711\r\n")])
    await answer(place, "4,711 in January.")
    assert "January,4711" in asked_of(place)


async def harmless(place: Place) -> None:
    """Whatever the model writes, nobody is notified."""
    users = {"alice": "<@U0ALICE>" if isinstance(place, SlackPlace) else place.mention}
    place.model.script(f"Tea. {_HOSTILE.format(**users)}")
    await place.ask("ping everybody")
    shown = await answer(place, "Tea.", "everyone")
    assert shown.pings == []


async def failure(place: Place) -> None:
    """The sentence has nothing of the service's own words."""
    place.model.script(Script(status=400))
    await place.ask("which day is it?")
    shown = await answer(place, "The model service refused this request. Please ask")
    assert "scripted fault" not in shown.text


async def restart(place: Place) -> None:
    """Another process completes the message that the first one has begun."""
    words = "A long answer about tea begins with its origin in the mountains.\n\n" * 4
    place.model.script(Script(text=words + "never", fault="stall", break_after=45))
    await place.ask("tell me about tea")
    await wait_until(lambda: any("mountains." in each.text for each in place.shown()), "it has begun")
    await place.bot.stop()
    place.model.script(words + "That is all.")
    await place.bot.start()
    await place.connect()
    await answer(place, "That is all.")
    assert "".join(each.text for each in place.shown()).count("mountains.") == 4


ANSWERS = (
    Feature("Growing answer", "read the answer while it is written", growing),
    Feature("Steps", "see each tool call with its rows and its time", step),
    Feature("Long answer", "read all of it, in several messages", long_answer),
    Feature("Table", "get rows of the database as a table", table),
    Feature("Chart", "get a chart: drawn by Slack, a picture on Discord", chart),
    Feature("Export", "get a file", file_out),
    Feature("Files", "send files with a question", file_in),
    Feature("No pings", "are not notified, whatever the model writes", harmless),
    Feature("Trouble in words", "read what happened and what to do", failure),
    Feature("Restart", "see an answer completed in its place after a restart of the bot", restart),
)
