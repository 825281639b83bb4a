"""Questions that the offline model understands: a dozen sentences about the sample data. Pure.

Each one calls a tool of the bot, as a language model would, and words its result for a person. A message
matches by its words, so that it may be put differently.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bot.agent import prompts
from bot.chat.text import one_line

_MOST_READ = 1_000
"""Characters of a message that are compared."""

_NOTES = [prompts.NO_TEXT, *(each.format(text="") for each in (prompts.CORRECTION, prompts.TRANSCRIPT))]
"""Notes of the bot before or in place of a user's words."""

_PARTS = {
    "revenue": "sum(i.quantity * i.unit_price * (1 - o.discount))",
    "sold": "orders o JOIN order_items i ON i.order_id = o.id",
    "counts": "o.status NOT IN ('cancelled', 'returned')",
    "dollars": "'FM$999,999,990'",
}
"""Parts of queries, which they name in braces."""

_STATUSES = ("processing", "shipped", "delivered", "returned", "cancelled")


class Call(NamedTuple):
    """Call of a tool, with its arguments."""

    tool: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Sentence that the offline model understands.

    A message matches if it has a word of each group of `words` (without a plural's s) or, if there is one,
    the `pattern`. `arguments` of the tool can name the pattern's groups, and so can `answer`; `{0}` there is
    the first cell of the first row.
    """

    sentence: str
    shows: str
    words: Sequence[frozenset[str]] = ()
    pattern: re.Pattern[str] | None = None
    tool: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    answer: str = ""
    nothing: str = "There is nothing to show."
    """Answer without rows."""
    needs_sample: bool = True
    file: tuple[str, str] | None = None
    """Name and text of a file to send with the sentence."""

    def found_in(self, text: str) -> Mapping[str, str] | None:
        """Return the pattern's groups if the message asks this question, else None."""
        if self.pattern:
            match = self.pattern.search(text)
            found = match.groupdict() if match else None
            return found and {name: each if name == "fact" else each.lower() for name, each in found.items()}
        said = {each.removesuffix("s") for each in re.findall(r"[a-z]+", text.lower())}
        return {} if all(group & said for group in self.words) else None


@dataclass(frozen=True, slots=True)
class Understood:
    """Question that a message asks, with the groups of its pattern."""

    question: Question
    groups: Mapping[str, str]

    @property
    def call(self) -> Call | None:
        """Return the call that finds the answer, or None if none is needed."""
        arguments = self.question.arguments
        filled = {name: _fill(value, self.groups) for name, value in arguments.items()}
        return Call(self.question.tool, filled) if self.question.tool else None

    def words(self, cells: Sequence[str] = ()) -> str:
        """Return the answer's sentence; `cells` are those of the first row."""
        answer = _fill(self.question.answer, self.groups)
        return re.sub(r"\{(\d)\}", lambda found: _cell(cells, int(found[1])), answer)


def _cell(cells: Sequence[str], at: int) -> str:
    return cells[at] if at < len(cells) else "…"


def _fill(text: str, groups: Mapping[str, str]) -> str:
    return re.sub(r"\{([a-z]+)\}", lambda found: {**_PARTS, **groups}.get(found[1], ""), text)


def own_words(message: str) -> str:
    """Return a message without its author's name, data such as files, and notes to the model, shortened."""
    words = message.partition("[data from ")[0][: 4 * _MOST_READ].strip()
    words = re.sub(r"^\[[^\]\n]{1,200}\] ", "", words)
    for note in _NOTES:
        words = words.removeprefix(note)
    return one_line(words, _MOST_READ)


def understand(message: str, *, has_sample: bool) -> Understood | None:
    """Return the question that a message asks, if the offline model knows it."""
    text = own_words(message)
    for question in QUESTIONS:
        groups = question.found_in(text) if has_sample or not question.needs_sample else None
        if groups is not None:
            return Understood(question, groups)
    return None


def _group(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PICTURE = _group("draw chart plot graph picture diagram curve visualise visualize")
_FILE = _group("csv file export download spreadsheet excel")
_EACH_MONTH = _group("month monthly")
_MONEY = _group("revenue sale turnover income")

CAPABILITIES = "capabilities"
EARLIER = "earlier"
FACTS = "facts"
READ_FILE = "file"
REMEMBER = "remember"
TABLES = "tables"
"""Values of `shows` whose answers `bot.agent.models.offline` writes."""

REMEMBER_PATTERN = re.compile(
    r"^(?:please\s+)?(?:remember|note)\b(?:\s+that\b)?[:,]?\s+(?P<fact>.{3,})", re.IGNORECASE
)

QUESTIONS: Sequence[Question] = (
    Question(
        sentence="Change order 17 to returned",
        shows="an approval",
        pattern=re.compile(
            rf"\b(?:change|set|mark|make|update)\b.{{0,30}}\border\s+#?(?P<order>\d{{1,9}})\b.{{0,30}}?"
            rf"\b(?P<status>{'|'.join(_STATUSES)})\b",
            re.IGNORECASE,
        ),
        tool="sql_execute",
        arguments={"statement": "UPDATE orders SET status = '{status}' WHERE id = {order}"},
        answer="Done: order {order} is now {status}.",
    ),
    Question(
        sentence="Remember that my region is Europe",
        shows=REMEMBER,
        pattern=REMEMBER_PATTERN,
        tool="memory_save",
        arguments={"text": "{fact}", "scope": "private"},
        needs_sample=False,
    ),
    Question(
        sentence="What do you know about me?",
        shows=FACTS,
        pattern=re.compile(r"\b(?:know|remember)\b.{0,20}\b(?:about\s+me|of\s+me|my)\b", re.IGNORECASE),
        tool="memory_search",
        arguments={"query": "remember my name, region, team, role, language, what I prefer"},
        needs_sample=False,
    ),
    Question(
        sentence="What did I ask before?",
        shows=EARLIER,
        pattern=re.compile(r"\bwhat\s+(?:did|have)\s+(?:i|we)\b|\bask(?:ed)?\s+before\b", re.IGNORECASE),
        needs_sample=False,
    ),
    Question(
        sentence="What does the attached file say?",
        shows=READ_FILE,
        words=(_group("file document attachment attached note"), _group("say contain read in content about")),
        needs_sample=False,
        file=(
            "team-notes.txt",
            "Notes of Monday\n- The Aurora lamps of the bad batch are replaced for free.\n"
            "- Deliveries to Latin America are back to five days.\n- Next review: on Thursday.\n",
        ),
    ),
    Question(
        sentence="Show me order 17",
        shows="a table",
        pattern=re.compile(
            r"^(?:please\s+)?(?:show|what|which|look|open|find)\b.{0,40}\border\s+#?(?P<order>\d{1,9})\b",
            re.IGNORECASE,
        ),
        tool="sql_query",
        arguments={
            "query": 'SELECT p.name AS "Product", i.quantity AS "Pieces", '
            'to_char(i.unit_price, {dollars}) AS "Price", o.status AS "Status" FROM {sold} '
            "JOIN products p ON p.id = i.product_id WHERE o.id = {order} ORDER BY i.line"
        },
        answer="Order {order} is **{3}**. It contains:",
        nothing="There is no such order.",
    ),
    Question(
        sentence="Draw the revenue of each month",
        shows="a chart",
        words=(_PICTURE, _MONEY, _EACH_MONTH),
        tool="chart",
        arguments={
            "query": "SELECT date_trunc('month', o.ordered_at)::date AS month, "
            "round({revenue}) AS revenue_usd FROM {sold} WHERE {counts} GROUP BY 1 ORDER BY 1",
            "kind": "line",
            "title": "Revenue of each month",
        },
        answer="This is the revenue of each month. Cancelled and returned orders do not count.",
    ),
    Question(
        sentence="Compare the revenue of our product categories in a chart",
        shows="a chart",
        words=(_PICTURE, _group("category categorie product")),
        tool="chart",
        arguments={
            "query": "SELECT g.name AS category, round({revenue}) AS revenue_usd FROM {sold} "
            "JOIN products p ON p.id = i.product_id JOIN categories g ON g.id = p.category_id "
            "WHERE {counts} GROUP BY 1 ORDER BY 2 DESC",
            "kind": "bar",
            "title": "Revenue of each product category",
        },
        answer="These are our product categories by revenue.",
    ),
    Question(
        sentence="Give me all orders as a CSV file",
        shows="a file to download",
        words=(_FILE, _group("order")),
        tool="export",
        arguments={
            "query": "SELECT o.id, c.name AS customer, o.ordered_at, o.channel, o.status, o.discount, "
            "o.delivered_at FROM orders o JOIN customers c ON c.id = o.customer_id ORDER BY o.id"
        },
        answer="Here are all orders.",
    ),
    Question(
        sentence="How many orders did we have each month?",
        shows="a table",
        words=(_group("order"), _EACH_MONTH),
        tool="sql_query",
        arguments={
            "query": "SELECT to_char(date_trunc('month', ordered_at), 'FMMonth YYYY') AS \"Month\", "
            "count(*) AS \"Orders\" FROM orders GROUP BY date_trunc('month', ordered_at) "
            "ORDER BY date_trunc('month', ordered_at) DESC LIMIT 24"
        },
        answer="{0} has {1} orders. All months, the newest first:",
    ),
    Question(
        sentence="Who are our ten best customers?",
        shows="a table",
        words=(_group("best top biggest largest good important"), _group("customer client buyer")),
        tool="sql_query",
        arguments={
            "query": 'SELECT c.name AS "Customer", c.segment AS "Segment", count(DISTINCT o.id) AS "Orders", '
            'to_char({revenue}, {dollars}) AS "Revenue" FROM {sold} '
            "JOIN customers c ON c.id = o.customer_id WHERE {counts} GROUP BY c.id "
            "ORDER BY {revenue} DESC LIMIT 10"
        },
        answer="Our best customer is **{0}**: {3} in {2} orders. The ten best by revenue:",
    ),
    Question(
        sentence="Which products are returned most often?",
        shows="a table",
        words=(_group("product article item lamp"), _group("returned return back")),
        tool="sql_query",
        arguments={
            "query": 'SELECT p.name AS "Product", count(*) AS "Orders", '
            "count(*) FILTER (WHERE o.status = 'returned') AS \"Returned\", "
            "round(100.0 * count(*) FILTER (WHERE o.status = 'returned') / count(*), 1) AS \"Returned, %\" "
            "FROM {sold} JOIN products p ON p.id = i.product_id GROUP BY p.id ORDER BY 4 DESC LIMIT 10"
        },
        answer="**{0}** comes back most often: {2} of {1} orders with it were returned. The ten:",
    ),
    Question(
        sentence="Which support tickets are open?",
        shows="a table",
        words=(_group("ticket request complaint"), _group("open waiting urgent")),
        tool="sql_query",
        arguments={
            "query": 'SELECT t.id AS "Ticket", c.name AS "Customer", t.topic AS "Topic", '
            't.priority AS "Priority", to_char(t.opened_at, \'YYYY-MM-DD\') AS "Opened", a.name AS "With" '
            "FROM tickets t JOIN customers c ON c.id = t.customer_id JOIN agents a ON a.id = t.agent_id "
            "WHERE t.status = 'open' ORDER BY array_position(ARRAY['urgent', 'high', 'normal', 'low'], "
            "t.priority), t.opened_at LIMIT 20"
        },
        answer="The most urgent open ticket is that of **{1}**. The first 20, by urgency:",
        nothing="No support ticket is open.",
    ),
    Question(
        sentence="Which tables do you know?",
        shows=TABLES,
        words=(_group("table schema data database"), _group("know see have there which what")),
        tool="sql_schema",
        needs_sample=False,
    ),
    Question(
        sentence="What can you do?",
        shows=CAPABILITIES,
        pattern=re.compile(r"\bwhat\s+can\s+(?:you|i)\b|\bhelp\b|\bwho\s+are\s+you\b", re.IGNORECASE),
        needs_sample=False,
    ),
)
"""All questions; the first that matches is answered."""

_ORDER = (
    "How many orders did we have each month?",
    "Who are our ten best customers?",
    "Draw the revenue of each month",
    "Which products are returned most often?",
    "Compare the revenue of our product categories in a chart",
    "Which support tickets are open?",
    "Give me all orders as a CSV file",
    "Change order 17 to returned",
    "Show me order 17",
    "Remember that my region is Europe",
    "What do you know about me?",
    "What does the attached file say?",
    "What can you do?",
)
SUGGESTIONS: Sequence[Question] = [each for name in _ORDER for each in QUESTIONS if each.sentence == name]
"""The tour: the questions in the order in which a person meets them."""

LABELS: Mapping[str, str] = {
    REMEMBER: "a remembered fact",
    FACTS: "memory",
    READ_FILE: "reading a file",
    CAPABILITIES: "an overview",
}
"""Words for a person, in place of values of `shows`."""
