"""Typical conversations, told once and shown on each platform."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bot.commands import ask_texts, home_texts
from tests.servers.model import Script
from tests.servers.slack.rules import visible_text
from tests.servers.slack.service import ALICE
from tests.support.contract.discord_place import DiscordPlace
from tests.support.contract.place import Place, answer, passed_over
from tests.support.contract.slack_place import SlackPlace
from tests.support.wait import wait_until

_ORDERS = "SELECT status, count(*) AS orders FROM orders GROUP BY status ORDER BY 2 DESC"
_CHART = {"query": _ORDERS, "kind": "bar", "x": "status", "y": "orders", "title": "Orders by status"}
_UPDATE = "UPDATE products SET price = price + 5 WHERE name = 'Footrest'"
_PLAN = """\
Here is a plan for the **launch**:

1. *Monday*: freeze the prices, check the stock
2. *Tuesday*: send the [newsletter](https://shop.example/news)
3. *Friday*: look at the first orders

> Keep the old price list for a week.

```sql
SELECT name, stock FROM products WHERE stock < 10;
```
Run `!stop` if I should stop here.
"""


@dataclass(frozen=True, slots=True)
class Show:
    """Conversation for a picture; `only` is the platform that has it."""

    name: str
    title: str
    story: Callable[[Place], Awaitable[None]]
    only: Literal["slack", "discord", ""] = ""


async def mention(place: Place) -> None:
    place.model.script(_PLAN)
    await place.ask("how should we plan the launch?")
    await answer(place, "first orders")


async def working(place: Place) -> None:
    """The model waits while the picture is taken."""
    query = "SELECT count(*) AS orders FROM orders"
    first = Script(text="Let me look at the orders.", tool_calls=[("sql_query", {"query": query})])
    place.model.script(first, Script(text="Never shown.", gate=asyncio.Event()))
    before = len(place.model.requests)
    await place.ask("how many orders do we have?")
    await wait_until(lambda: len(place.model.requests) == before + 2, "the query has run")
    await wait_until(lambda: any("1 row" in each.text for each in place.shown()), "its step is shown")


async def table(place: Place) -> None:
    call = ("table", {"query": _ORDERS, "title": "Orders by status"})
    place.model.script(Script(tool_calls=[call]), "Most orders are delivered.")
    await place.ask("show me the orders by status")
    await answer(place, "Most orders are delivered.")


async def chart(place: Place) -> None:
    place.model.script(Script(tool_calls=[("chart", _CHART)]), "Most orders are delivered.")
    await place.ask("draw the orders by status")
    await answer(place, "Most orders are delivered.")


async def files(place: Place) -> None:
    place.model.script(
        Script(tool_calls=[("export", {"query": _ORDERS})]),
        "January is *higher*. All orders are in the file.",
    )
    sent = ("sales.csv", "text/csv", b"month,revenue\r\nJanuary,4711\r\n")
    await place.ask("compare this with our orders, as a file", files=[sent])
    await answer(place, "All orders")


async def approval(place: Place) -> None:
    place.model.script(
        Script(text="That needs an approval.", tool_calls=[("sql_execute", {"statement": _UPDATE})])
    )
    await place.ask("please raise the price of the Footrest by 5 dollars")
    await answer(place, "UPDATE products")


async def approved(place: Place) -> None:
    await approval(place)
    place.model.script("The Footrest costs 5 dollars more now.")
    await place.press("bob", "Approve")
    await answer(place, "5 dollars more now")


async def question(place: Place) -> None:
    asked = {"question": "Which **quarter** do you mean?", "options": ["This one", "The last one", "Both"]}
    place.model.script(Script(tool_calls=[("ask_user", asked)]))
    await place.ask("how did sales go?")
    await answer(place, "quarter")


async def answered(place: Place) -> None:
    await question(place)
    place.model.script("The last quarter had *4,711* orders.")
    await place.press("alice", "The last one")
    await answer(place, "4,711")


async def details(place: Place) -> None:
    place.model.script(Script(tool_calls=[("sql_query", {"query": _ORDERS})]), "Most orders are delivered.")
    await place.ask("how are our orders?")
    await answer(place, "Most orders are delivered.")
    await place.press("alice", "Details")
    await place.vote("alice", is_good=False)
    if isinstance(place, SlackPlace):
        await wait_until(lambda: any(each.is_open for each in place.slack.modals), "the form is open")


async def two_users(place: Place) -> None:
    place.model.script("Assam and Earl Grey.", "Then *Assam*, for three.")
    await place.ask("which tea do we have?")
    await answer(place, "Earl Grey")
    await passed_over(place, await place.say("bob", "We are three, by the way."))
    await place.say("alice", f"{place.mention} which one should we take?")
    await answer(place, "for three")


async def trouble(place: Place) -> None:
    place.model.script(Script(status=400))
    await place.ask("which day is it?")
    await answer(place, "refused this request")


async def stopped(place: Place) -> None:
    text = "The history of tea begins in the mountains of the south-west. " * 4
    place.model.script(Script(text=text, fault="stall", break_after=45))
    await place.ask("tell me everything about tea")
    await wait_until(lambda: any("mountains" in each.text for each in place.shown()), "it has begun")
    await place.say("alice", "!stop")
    await answer(place, "Stopped")


async def commands(place: Place) -> None:
    place.model.script("Hello! What can I do for you?")
    await place.ask("hello")
    await answer(place, "Hello!")
    await place.command("bob", "health")
    await place.command("bob", "usage")
    await place.command("bob", "channel", "show")


async def about(place: Place) -> None:
    id = await place.talk("bob", "Let us order 30 Footrests before the price goes up.")
    place.model.script("You have **12** in stock and sell 3 a week: 30 would last ten weeks.")
    await place.ask_about("alice", id, "Is that too many?")
    await answer(place, "ten weeks")


async def home(place: Place) -> None:
    assert isinstance(place, SlackPlace)
    call = ("memory_save", {"text": "remember that I like tea", "scope": "private"})
    place.model.script(Script(tool_calls=[call]), "Noted.")
    await place.direct("remember that I like tea")
    await answer(place, "Noted.")
    place.slack.open_home(ALICE, "home")

    def shown() -> str:
        return visible_text((place.slack.home(ALICE) or {}).get("blocks", []))

    await wait_until(lambda: home_texts.USAGE in shown(), "the tab is shown")


async def private(place: Place) -> None:
    assert isinstance(place, DiscordPlace)
    place.model.script("It is **Monday**.")
    await place.talk("alice", "Good morning!")
    options = {"question": "which day is it?", "private": True}
    asked = await place.discord.command("ask", options=options)
    await wait_until(lambda: "Monday" in asked.content, "the answer")


async def form(place: Place) -> None:
    assert isinstance(place, SlackPlace)
    await place.talk("alice", "Good morning!")
    await place.slack.shortcut(ask_texts.ASK, ALICE)


SHOWS: Sequence[Show] = (
    Show("mention", "A mention is answered in its thread", mention),
    Show("working", "While the bot works", working),
    Show("table", "Rows of the database", table),
    Show("chart", "A chart", chart),
    Show("files", "Files in and out", files),
    Show("approval", "A change waits for an approval", approval),
    Show("approved", "The change was approved, and has run", approved),
    Show("question", "A question of the agent", question),
    Show("answered", "The question was answered", answered),
    Show("details", "Details of an answer, and the form after 👎", details),
    Show("two-users", "Two users talk, and the bot waits for a mention", two_users),
    Show("stopped", "An answer is stopped", stopped),
    Show("trouble", "The model service fails", trouble),
    Show("commands", "Answers to commands", commands),
    Show("about", "A question from the menu of a message", about),
    Show("home", "The Home tab", home, "slack"),
    Show("form", "The form of the shortcut *Ask the agent*", form, "slack"),
    Show("private", "A private answer to `/ask`", private, "discord"),
)
