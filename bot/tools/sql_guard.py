"""Which SQL may run at all, decided on PostgreSQL's own parse tree. Pure.

This is one of the walls that `bot.tools.sql` names. What a view or function of the database does inside is
the database's business, hence the role's.
"""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from pglast import ast, parse_sql
from pglast.parser import ParseError
from pglast.visitors import Ancestor, Visitor

from bot.tools.failure import ToolFailure
from bot.tools.sql_format import point_at
from bot.tools.sql_names import XML_PATHS, is_denied_function, is_denied_relation, is_denied_setting

MAX_QUERY_CHARS = 10_000
"""Longer queries are refused: nobody writes them by hand, and these already take 0.3 s and 2 MiB of stack."""

_READING_ONLY = "only SELECT, WITH, VALUES, TABLE, SHOW and EXPLAIN are."

READING: frozenset[type[ast.Node]] = frozenset({ast.SelectStmt, ast.VariableShowStmt})
"""The kinds of statement that only look."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as it was written, without its semicolon, and PostgreSQL's parse tree of it."""

    text: str
    tree: ast.Node
    calls: frozenset[str] = frozenset()
    """The functions that it may call, once `check` has looked."""

    @property
    def kind(self) -> str:
        """What it does, in the words of SQL: `SELECT`, `DELETE`, `CREATE TABLE AS`."""
        return _kind(self.tree)

    @property
    def is_select(self) -> bool:
        """Whether it can stand in a FROM."""
        return isinstance(self.tree, ast.SelectStmt)


def check(query: str) -> Statement:
    """The single read-only statement in `query`. Raises `ToolFailure` with the reason when there is none."""
    statement = parse_one(query)
    tree = statement.tree
    if isinstance(tree, ast.ExplainStmt):
        explained = tree.query
        if not isinstance(explained, ast.SelectStmt):
            raise ToolFailure("EXPLAIN is possible only for a SELECT.")
        tree = explained
    return replace(statement, calls=inspect(tree, READING, _READING_ONLY))


def parse_one(query: str) -> Statement:
    """The single statement in `query`, of whatever kind. Raises `ToolFailure`, with the place of an error."""
    _require(len(query) <= MAX_QUERY_CHARS, f"The query is longer than {MAX_QUERY_CHARS:,} characters.")
    # the parser, written in C, would stop reading at a NUL
    _require("\0" not in query and _is_encodable(query), "The query holds characters that are no text.")
    try:
        statements = parse_sql(query)
    except ParseError as error:
        message, position = error.args
        raise ToolFailure(f"ERROR: {message}\n{point_at(query, position)}".rstrip()) from error
    _require(len(statements) > 0, "The query is empty.")
    _require(len(statements) == 1, "Only one statement at a time; send each in a call of its own.")
    (raw,) = statements
    assert raw.stmt is not None  # the parser makes no statement out of nothing
    start = raw.stmt_location or 0
    end = start + raw.stmt_len if raw.stmt_len else len(query)
    return Statement(query[start:end], raw.stmt)


def inspect(tree: ast.Node, allowed: Set[type[ast.Node]], otherwise: str) -> frozenset[str]:
    """Walk all of a statement, whose parts, too, must be of the `allowed` kinds and name nothing denied.

    Returns the names of the functions that it may call. Raises `ToolFailure` at the first node that may not
    run: `DELETE is not allowed: <otherwise>`.
    """
    inspector = _Inspector(allowed, otherwise)
    inspector(tree)
    return frozenset(inspector.calls)


class _Inspector(Visitor):
    def __init__(self, allowed: Set[type[ast.Node]], otherwise: str) -> None:
        self._allowed = allowed
        self._otherwise = otherwise
        self.calls: set[str] = set()

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
            case ast.FuncCall(funcname=name, args=arguments):
                self._check_function(_strings(name), arguments or ())
            case ast.ColumnRef(fields=names):
                self._check_attributes(_strings(names)[1:])
            case ast.A_Indirection(indirection=names):
                self._check_attributes(_strings(names))
            case ast.RangeVar(relname=str(relation)):
                _require(not is_denied_relation(relation), f"The catalog {relation} may not be read.")
            case ast.VariableShowStmt(name=str(setting)):
                _check_setting(setting)
            case _ if _is_statement(node) and type(node) not in self._allowed:
                raise ToolFailure(f"{_kind(node)} is not allowed: {self._otherwise}")

    def _check_function(self, path: Sequence[str], arguments: Sequence[ast.Node]) -> None:
        name = path[-1]
        if name == "current_setting":
            _check_setting(_literal(arguments))
        elif is_denied_function(name, path[-2] if len(path) > 1 else ""):
            is_path = name.startswith(("xpath", "xmlexists"))
            reason = f"The function {name} is not allowed: it may do more than read tables."
            raise ToolFailure(XML_PATHS if is_path else reason)
        self.calls.add(name)

    def _check_attributes(self, names: Sequence[str]) -> None:
        """`t.f` and `(x).f` call the function `f` on the row or value when that has no such column."""
        for name in names:
            denied = name == "current_setting" or is_denied_function(name)
            _require(not denied, f"{name} is not allowed: it may call the function of that name.")
            self.calls.add(name)


def _check_setting(name: str | None) -> None:
    if name is None:
        raise ToolFailure("current_setting is possible only with the setting's name as a plain string.")
    _require(not is_denied_setting(name), f"The setting {name} may not be read: it may hold a secret.")


def _literal(arguments: Sequence[ast.Node]) -> str | None:
    match arguments:
        case [ast.A_Const(val=ast.String(sval=str(text))), *_]:
            return text
        case _:
            return None


def _strings(nodes: Sequence[ast.Node] | None) -> list[str]:
    """The names in a list that may hold `*` and subscripts, too, in the order of the list."""
    return [node.sval or "" for node in nodes or () if isinstance(node, ast.String)]


def _kind(statement: ast.Node) -> str:
    """`DELETE` for a DeleteStmt, `CREATE TABLE AS` for a CreateTableAsStmt."""
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
