"""Statements that change the database: checks before an approval, and the part of each that only reads. Pure.

The approver sees a statement printed from its parse tree, so that blanks, empty lines and comments hide
nothing.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pglast import ast, parse_sql
from pglast.enums import OnConflictAction
from pglast.parser import scan
from pglast.stream import IndentedStream, RawStream
from pglast.visitors import Ancestor, Visitor

from bot.chat.text import first_invisible
from bot.tools.errors import ToolFailure
from bot.tools.sql import guard
from bot.tools.sql.deny_list import LEDGER, is_known_catalog
from bot.tools.sql.guard import Statement
from bot.tools.sql.mentions import Name

MAX_STATEMENT_CHARS = 1_500
"""Longest statement: a longer one does not fit into one message, and nobody reads it to the end."""


_MOST_ON_A_LINE = 100
_GAP = re.compile(r"[ \t]{16}|\n[ \t]*\n[ \t]*\n")
"""Blanks or empty lines in a row that could hide the end of a statement."""

_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
"""Right-to-left scripts: https://www.unicode.org/reports/tr9/#Bidirectional_Character_Types"""

_ODD_NUMBER = re.compile("[_xXoObB]")

_WRITING: frozenset[type[ast.Node]] = frozenset(
    {ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.SelectStmt}
)
_WRITING_ONLY = "only INSERT, UPDATE and DELETE are."


@dataclass(frozen=True, slots=True)
class Change:
    """Checked statement that may be shown to an approver, and the table that it changes."""

    statement: Statement
    target: Name

    @property
    def tree(self) -> Any:  # pglast ships no types
        """Return the parse tree of the statement."""
        return self.statement.tree

    @property
    def table(self) -> str:
        """Return the table as the statement names it."""
        return ".".join(each for each in (self.target.schema, self.target.name) if each)

    @property
    def skips_conflicts(self) -> bool:
        """Return True if the statement skips rows that exist already."""
        return isinstance(self.tree, ast.InsertStmt) and self.tree.onConflictClause is not None

    @property
    def joins(self) -> bool:
        """Return True if a row of the table may match several rows of other tables, but changes once."""
        tree = self.tree
        return bool(
            (isinstance(tree, ast.UpdateStmt) and tree.fromClause)
            or (isinstance(tree, ast.DeleteStmt) and tree.usingClause)
        )


def check(text: str) -> Change:
    """Return the single INSERT, UPDATE or DELETE in `text`, printed from its parse tree.

    Raises `ToolFailure` if there is none, or if an approver could not see all of it.
    """
    _require(len(text) <= MAX_STATEMENT_CHARS, f"Write at most {MAX_STATEMENT_CHARS:,} characters.")
    _require_visible(text)
    tree: Any = guard.parse_one(text).tree
    statement = Statement(_display(tree), tree)
    match tree:
        case ast.InsertStmt():
            clause = tree.onConflictClause
            overwrites = clause is not None and clause.action == OnConflictAction.ONCONFLICT_UPDATE
            _require(not overwrites, "ON CONFLICT DO UPDATE hides what it overwrites: write an UPDATE.")
            # an array subscript may be a sub-select, which the reading part would not cover
            has_places = any(bound for column in tree.cols or () for bound in column.indirection or ())
            _require(not has_places, "Only whole columns can be inserted.")
        case ast.UpdateStmt() | ast.DeleteStmt():
            _require(
                tree.whereClause is not None,
                f"{statement.kind} without WHERE would change every row; say which rows are meant.",
            )
        case _:
            raise ToolFailure(f"{statement.kind} is not allowed: {_WRITING_ONLY}")
    _require(not tree.returningClause, "RETURNING is not possible: look with sql_query afterwards.")
    _require(_writing_parts(tree) == 1, "The parts inside the statement can only read.")
    target = Name(tree.relation.relname, tree.relation.schemaname or "")
    mentions = guard.inspect(tree, _WRITING, _WRITING_ONLY)
    change = Change(Statement(statement.text, tree, mentions), target)
    is_given = not target.schema and target.name in mentions.with_queries
    _require(not is_given, f"WITH gives the name {target.name} to something other than the table.")
    own = target.name == LEDGER or target.schema in ("pg_catalog", "information_schema")
    _require(not own and not is_known_catalog(target.name), f"{change.table} cannot be changed.")
    return change


def _display(tree: ast.Node) -> str:
    """Return the statement for the approver: on one line, or on several if it is long."""
    line = print_tree(tree)
    _require_visible(line)
    _require(not _GAP.search(line), "A text in it contains many blanks or empty lines, which hide the rest.")
    numbers = [line[each.start : each.end + 1] for each in scan(line) if each.name == "FCONST"]
    _require(
        not any(map(_ODD_NUMBER.search, numbers)),
        "Write numbers as plain decimals: to PostgreSQL 14 1_000 is 1, and 0xff is 0.",
    )
    is_turned = bool(_RIGHT_TO_LEFT.search(line))
    if is_turned:
        line = _faithful(lambda each: _in_reading_order(RawStream()(each)), tree)
    _require(
        len(line) <= MAX_STATEMENT_CHARS,
        f"Written out it is longer than {MAX_STATEMENT_CHARS:,} characters: make it shorter.",
    )
    if is_turned or len(line) <= _MOST_ON_A_LINE:
        return line
    lines = _faithful(IndentedStream(), tree)
    return lines if len(lines) <= MAX_STATEMENT_CHARS else line


def _in_reading_order(text: str) -> str:
    """Return the statement with each part in a right-to-left script on a separate line.

    Two such parts on one line would reverse the display of everything between them.
    """
    pieces, end = [], 0
    for token in scan(text):
        piece = text[token.start : token.end + 1]
        if _RIGHT_TO_LEFT.search(piece):
            pieces += [text[end : token.start].strip(" "), f"\n{piece}\n"]
            end = token.end + 1
    return "".join([*pieces, text[end:].strip(" ")]).strip()


def _require_visible(text: str) -> None:
    hidden = first_invisible(text)
    _require(not hidden, f"The statement contains an invisible character ({hidden!r}).")
    _require("```" not in text, "The statement contains ```, which would end the code block that shows it.")


def print_tree(tree: ast.Node) -> str:
    """Return SQL that parses to the same tree. Raises `ToolFailure` if the printer cannot write it."""
    return _faithful(RawStream(), tree)


def _faithful(printer: Callable[[ast.Node], str], tree: ast.Node) -> str:
    try:
        text = printer(tree)
        again = parse_sql(text)
        is_faithful = len(again) == 1 and _plain(again[0].stmt) == _plain(tree)
    except Exception as error:  # pglast raises anything for a node that it cannot print
        raise ToolFailure("The statement cannot be shown exactly: write it in a simpler way.") from error
    _require(is_faithful, "The statement cannot be shown exactly: write it in a simpler way.")
    return text


def _plain(node: Any) -> Any:
    """Return the tree as plain data without the nodes' positions in the text."""
    match node:
        case ast.Node():
            fields = {name: _plain(getattr(node, name)) for name in node if not _is_place(name)}
            return (type(node).__name__, fields)
        case tuple() | list():
            return [_plain(each) for each in node]
        case _:
            return node


def _is_place(field: str) -> bool:
    return field.endswith(("location", "_start", "_end")) or field == "stmt_len"


class _WritingParts(Visitor):
    def __init__(self) -> None:
        self.count = 0

    def visit(self, _: Ancestor, node: ast.Node) -> None:
        if isinstance(node, ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt | ast.MergeStmt):
            self.count += 1


def _writing_parts(tree: ast.Node) -> int:
    parts = _WritingParts()
    parts(tree)
    return parts.count


# --- the part that only reads


def reading_part(change: Change, schema: str) -> str:
    """Return a SELECT over the same tables and conditions that computes every value of the change.

    It has one row for each changed row, in a join perhaps several. `schema` is the target's schema, so that
    no name in WITH can stand for the target.
    """
    tree = change.tree
    match tree:
        case ast.InsertStmt():
            return print_tree(_inserted_rows(tree))
        case ast.UpdateStmt():
            values = [value for target in tree.targetList or () for value in _values(target)]
            select = _select(tree, schema, tree.fromClause)
            if values:
                row = _parse("SELECT ROW(1)")
                row.targetList[0].val.args = tuple(values)
                select.targetList = row.targetList
            return print_tree(select)
        case _:
            return print_tree(_select(tree, schema, tree.usingClause))


def matching_rows(change: Change, schema: str) -> str:
    """Return a SELECT with exactly one row for each row of the target that a change with joins matches."""
    tree = change.tree
    others = tree.fromClause if isinstance(tree, ast.UpdateStmt) else tree.usingClause
    select: Any = _parse("SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM u WHERE true)")
    select.fromClause = (_qualify(tree.relation, schema),)
    select.whereClause.subselect.fromClause = others
    select.whereClause.subselect.whereClause = tree.whereClause
    select.withClause = tree.withClause
    return print_tree(select)


def _parse(text: str) -> Any:
    [raw] = parse_sql(text)
    return raw.stmt


def _select(tree: Any, schema: str, others: Sequence[ast.Node] | None) -> Any:
    select = _parse("SELECT 1 FROM t WHERE true")
    select.fromClause = (_qualify(tree.relation, schema), *(others or ()))
    select.whereClause = tree.whereClause
    select.withClause = tree.withClause
    return select


def _qualify(relation: Any, schema: str) -> Any:
    """Return the relation under its full name, which WITH cannot redefine."""
    qualified = _parse("SELECT 1 FROM s.t").fromClause[0]
    qualified.schemaname, qualified.relname = schema, relation.relname
    qualified.inh, qualified.alias = relation.inh, relation.alias
    return qualified


def _inserted_rows(tree: Any) -> Any:
    """Return a SELECT of the rows that an INSERT adds, with NULL for each DEFAULT."""
    if tree.selectStmt is None:
        return _parse("SELECT 1")
    select = tree.selectStmt
    if select.valuesLists:
        select = _without_defaults(select)
    if tree.withClause is None:
        return select
    around = _parse("SELECT * FROM (SELECT 1) AS added")
    around.fromClause[0].subquery = select
    around.withClause = tree.withClause
    return around


def _without_defaults(values: Any) -> Any:
    null = _parse("SELECT NULL").targetList[0].val
    again = _parse("VALUES (1)")
    again.valuesLists = tuple(
        tuple(null if isinstance(each, ast.SetToDefault) else each for each in row)
        for row in values.valuesLists
    )
    for part in ("withClause", "sortClause", "limitCount", "limitOffset", "limitOption"):
        setattr(again, part, getattr(values, part))
    return again


def _values(target: Any) -> list[ast.Node]:
    """Return the expressions that the server evaluates for one `column = value` of an UPDATE."""
    places = [bound for each in target.indirection or () for bound in _bounds(each)]
    value = target.val
    if not isinstance(value, ast.MultiAssignRef):
        return [*places, *_unless_default([value])]
    if value.colno != 1:  # the same source again
        return places
    source: Any = value.source
    if isinstance(source, ast.RowExpr):
        return [*places, *_unless_default(source.args or ())]
    # (a, b) = (SELECT …): the whole row as one value
    whole = _parse("SELECT (SELECT CAST(q.* AS text) FROM (SELECT 1) AS q)").targetList[0].val
    whole.subselect.fromClause[0].subquery = source.subselect
    return [*places, whole]


def _unless_default(values: Sequence[ast.Node]) -> list[ast.Node]:
    return [each for each in values if not isinstance(each, ast.SetToDefault)]


def _bounds(indirection: Any) -> list[ast.Node]:
    if not isinstance(indirection, ast.A_Indices):
        return []
    return [each for each in (indirection.lidx, indirection.uidx) if each is not None]


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ToolFailure(otherwise)
