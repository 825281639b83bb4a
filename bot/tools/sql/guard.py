"""Check of a statement's kind on PostgreSQL's own parse tree. Pure.

One of the layers in `bot.tools.sql.database`. Names are only collected here, some with a reason against
built-in objects and those of extensions; `resolution` asks the server about them. The inside of views and
functions is not checked: the database role limits it.
"""

import re
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

from pglast import ast, parse_sql
from pglast.parser import ParseError
from pglast.visitors import Ancestor, Visitor

from bot.tools.errors import ToolFailure
from bot.tools.sql.deny_list import (
    LEDGER,
    XML_PATHS,
    is_denied_function,
    is_denied_relation,
    is_denied_setting,
)
from bot.tools.sql.format import point_at
from bot.tools.sql.mentions import (
    Mentions,
    Name,
    Source,
    operators_of,
    query_source,
    source_of,
    strings,
)

MAX_QUERY_CHARS = 10_000
"""Longest query: nobody writes longer ones by hand, and this one takes 0.3 s and 2 MiB of stack to parse."""

_READING_ONLY = "only SELECT, WITH, VALUES, TABLE, SHOW and EXPLAIN are."

READING: frozenset[type[ast.Node]] = frozenset({ast.SelectStmt, ast.VariableShowStmt})
"""Kinds of statements that only read."""


@dataclass(frozen=True, slots=True)
class Statement:
    """Statement as it was written, without its semicolon, and its parse tree."""

    text: str
    tree: ast.Node
    mentions: Mentions = field(default_factory=Mentions)
    """Names in the statement, after `check`."""

    @property
    def calls(self) -> frozenset[str]:
        """Return the names of functions that it may call, including those that look like columns."""
        return frozenset(each.name for each in self.mentions.calls | self.mentions.attributes)

    @property
    def kind(self) -> str:
        """Return its kind in SQL: `SELECT`, `DELETE`, `CREATE TABLE AS`."""
        return _kind(self.tree)

    @property
    def is_select(self) -> bool:
        """Return True if it can be used in a FROM clause."""
        return isinstance(self.tree, ast.SelectStmt)


def check(query: str) -> Statement:
    """Return the single read-only statement in `query`. Raises `ToolFailure` if there is none."""
    statement = parse_one(query)
    tree = statement.tree
    if isinstance(tree, ast.ExplainStmt):
        explained = tree.query
        if not isinstance(explained, ast.SelectStmt):
            raise ToolFailure("EXPLAIN is possible only for a SELECT.")
        tree = explained
    return replace(statement, mentions=inspect(tree, READING, _READING_ONLY))


def parse_one(query: str) -> Statement:
    """Return the single statement of any kind in `query`. Raises `ToolFailure` with the error's position."""
    _require(len(query) <= MAX_QUERY_CHARS, f"The query is longer than {MAX_QUERY_CHARS:,} characters.")
    # the parser, written in C, would stop reading at a NUL
    _require(
        "\0" not in query and _is_encodable(query), "The query contains characters that are not valid text."
    )
    try:
        statements = parse_sql(query)
    except ParseError as error:
        message, position = error.args
        raise ToolFailure(f"ERROR: {message}\n{point_at(query, position)}".rstrip()) from error
    _require(len(statements) > 0, "The query is empty.")
    _require(len(statements) == 1, "Only one statement is possible at a time; send each in a separate call.")
    (raw,) = statements
    assert raw.stmt is not None  # the parser returns no empty statements
    start = raw.stmt_location or 0
    end = start + raw.stmt_len if raw.stmt_len else len(query)
    return Statement(query[start:end], raw.stmt)


def inspect(tree: ast.Node, allowed: Set[type[ast.Node]], otherwise: str) -> Mentions:
    """Return the names in a statement; all of its parts must be of the `allowed` kinds.

    Raises `ToolFailure` at the first forbidden node: `DELETE is not allowed: <otherwise>`.
    """
    inspector = _Inspector(allowed, otherwise)
    inspector(tree)
    return inspector.mentions


class _Inspector(Visitor):
    def __init__(self, allowed: Set[type[ast.Node]], otherwise: str) -> None:
        self._allowed = allowed
        self._otherwise = otherwise
        self._calls: set[Name] = set()
        self._attributes: set[Name] = set()
        self._relations: set[Name] = set()
        self._with_queries: defaultdict[str, list[Source]] = defaultdict(list)
        self._operators: set[str] = set()
        self._types: set[Name] = set()
        self._sources: defaultdict[str, list[Source]] = defaultdict(list)

    @property
    def mentions(self) -> Mentions:
        """Return the names in the visited nodes."""
        return Mentions(
            frozenset(self._calls),
            frozenset(self._attributes),
            frozenset(self._relations),
            frozenset(self._operators),
            frozenset(self._types),
            dict(self._sources),
            dict(self._with_queries),
        )

    def visit(self, _: Ancestor, node: ast.Node) -> None:
        match node:
            case ast.IntoClause():
                raise ToolFailure("SELECT INTO makes a table, which is not allowed.")
            case ast.LockingClause():
                raise ToolFailure("FOR UPDATE and FOR SHARE lock rows, which is not allowed.")
            case ast.ParamRef():
                raise ToolFailure("Parameters such as $1 are not possible: write the values into the query.")
            case ast.RangeTableFunc():
                raise ToolFailure(XML_PATHS)
            case ast.VariableShowStmt(name=str(setting)):
                refusal = _setting_refusal(setting)
                _require(not refusal, refusal)
            case _ if _is_statement(node) and type(node) not in self._allowed:
                raise ToolFailure(f"{_kind(node)} is not allowed: {self._otherwise}")
        self._note(node)
        if source := source_of(node):
            self._sources[source[0]].append(source[1])

    def _note(self, node: ast.Node) -> None:
        match node:
            case ast.FuncCall(funcname=path, args=arguments):
                *_, schema, name = ["", *strings(path)]
                self._calls.add(Name(name, schema, _call_refusal(name, schema, arguments or ())))
            case ast.ColumnRef(fields=[*_, ast.String(), ast.String()] as fields):
                *_, before, name = strings(fields)
                self._attributes.add(Name(name, before, _attribute_refusal(name)))
            case ast.A_Indirection(indirection=names):
                self._attributes |= {Name(name, "", _attribute_refusal(name)) for name in strings(names)}
            case ast.RangeVar(relname=str(relation), schemaname=schema):
                self._relations.add(Name(relation, schema or "", _relation_refusal(relation)))
            case ast.CommonTableExpr(ctename=str(name)):
                self._with_queries[name].append(query_source(node))
            case ast.TypeName(names=path):
                *_, schema, name = ["", *strings(path)]
                self._types.add(Name(name, schema))
        self._operators |= operators_of(node)


def _relation_refusal(name: str) -> str:
    if name == LEDGER:
        return f"The table {LEDGER} cannot be read: it shows the requests of other users."
    return f"The catalog {name} cannot be read." if is_denied_relation(name) else ""


def _call_refusal(name: str, schema: str, arguments: Sequence[ast.Node]) -> str:
    if name == "current_setting":
        return _setting_refusal(_literal(arguments))
    if not is_denied_function(name, schema):
        return ""
    is_path = name.startswith(("xpath", "xmlexists"))
    return XML_PATHS if is_path else f"The function {name} is not allowed: it may do more than read tables."


def _attribute_refusal(name: str) -> str:
    """Return why `t.f` or `(x).f` may only be a column, or a call of a user-defined function."""
    denied = name == "current_setting" or is_denied_function(name)
    return f"{name} is not allowed: it may call the function of that name." if denied else ""


def _setting_refusal(name: str | None) -> str:
    if name is None:
        return "current_setting is possible only with the setting's name as a plain string."
    return f"The setting {name} cannot be read: it may contain a secret." if is_denied_setting(name) else ""


def _literal(arguments: Sequence[ast.Node]) -> str | None:
    match arguments:
        case [ast.A_Const(val=ast.String(sval=str(text))), *_]:
            return text
        case _:
            return None


def _kind(statement: ast.Node) -> str:
    """Return `DELETE` for a DeleteStmt, `CREATE TABLE AS` for a CreateTableAsStmt."""
    name = type(statement).__name__.removesuffix("Stmt")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).upper()


def _is_statement(node: ast.Node) -> bool:
    return type(node).__name__.endswith("Stmt")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ToolFailure(otherwise)
