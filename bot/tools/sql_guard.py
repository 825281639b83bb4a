"""Which SQL may run at all, decided on PostgreSQL's own parse tree. Pure.

This is one of three walls: what passes here runs in a read-only transaction with time limits
(`bot.tools.sql`), under the rights of the database role. What a view or function of the database does
inside is the database's business, hence the role's.
"""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from pglast import ast, parse_sql
from pglast.parser import ParseError
from pglast.visitors import Ancestor, Visitor

from bot.tools.failure import ToolFailure
from bot.tools.sql_format import point_at

MAX_QUERY_CHARS = 10_000
"""Longer queries are refused: nobody writes them by hand, and parsing must not hold up the event loop."""

_READING_ONLY = "only SELECT, WITH, VALUES, TABLE, SHOW and EXPLAIN are."

_HARMLESS_PG = re.compile(
    r"""
    pg_(?:
        typeof | column_size | column_compression | collation_for | describe_object
        | (database|indexes|relation|table|total_relation)_size | size_(bytes|pretty)
        | get_(constraint|function|index|partkey|rule|statisticsobj|trigger|view)def
        | get_(expr|keywords|serial_sequence|userbyid)
        | get_function_(arguments|identity_arguments|result)
        | (function|operator|table|type)_is_visible | has_role
        | partition_(ancestors|root|tree) | input_(error_info|is_valid)
        | backend_pid | client_encoding | encoding_to_char | is_in_recovery | postmaster_start_time
    )
    """,
    re.VERBOSE,
)
"""Functions named `pg_...` that only look. All others of that name are refused, those of future
versions included: among them are files, sleeping, locks, signals, notifications and replication."""

_DENIED_FUNCTION = re.compile(
    r"""
    pg_.* | binary_upgrade_.*                        # see _HARMLESS_PG
    | lo_.* | loread | lowrite                             # large objects; lo_import and lo_export are files
    | set_config | setseed | setval | nextval | txid_current
    | brin_(de)?summarize_.* | gin_clean_pending_list | get_raw_page
    | (query|cursor|table|schema|database)_to_xml.*        # run the query in their argument
    | ts_stat | ts_rewrite | xpath_table | crosstab.* | connectby    # the same
    | dblink.* | postgres_fdw_.* | http | http_.* | .*_(call|inline)_handler
    """,
    re.VERBOSE,
)

_DENIED_SCHEMAS = frozenset({"aws_lambda", "aws_s3", "cron", "dblink", "http", "net"})
"""Schemas of extensions whose functions reach out of the database."""

_DENIED_RELATION = re.compile(
    r"""
    pg_authid | pg_shadow | pg_user_mappings? | pg_subscription | pg_largeobject
    | pg_hba_file_rules | pg_ident_file_mappings | pg_file_settings
    | pg_stat_activity | pg_stat_statements | pg_prepared_statements
    """,
    re.VERBOSE,
)
"""Catalogs that hold secrets, files or other people's queries."""


READING: frozenset[type[ast.Node]] = frozenset({ast.SelectStmt, ast.VariableShowStmt})
"""The kinds of statement that only look."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as it was written, without its semicolon, and PostgreSQL's parse tree of it."""

    text: str
    tree: ast.Node

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
    inspect(tree, READING, _READING_ONLY)
    return statement


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


def inspect(tree: ast.Node, allowed: Set[type[ast.Node]], otherwise: str) -> None:
    """Walk all of a statement, whose parts, too, must be of the `allowed` kinds and name nothing denied.

    Raises `ToolFailure` at the first node that may not run: `DELETE is not allowed: <otherwise>`.
    """
    _Inspector(allowed, otherwise)(tree)


class _Inspector(Visitor):
    def __init__(self, allowed: Set[type[ast.Node]], otherwise: str) -> None:
        self._allowed = allowed
        self._otherwise = otherwise

    def visit(self, _: Ancestor, node: ast.Node) -> None:
        match node:
            case ast.IntoClause():
                raise ToolFailure("SELECT INTO makes a table, which is not allowed.")
            case ast.LockingClause():
                raise ToolFailure("FOR UPDATE and FOR SHARE lock rows, which is not allowed.")
            case ast.ParamRef():
                raise ToolFailure("Parameters such as $1 are not possible: write the values into the query.")
            case ast.FuncCall(funcname=name):
                _check_function(_strings(name))
            case ast.ColumnRef(fields=names) | ast.A_Indirection(indirection=names):
                _check_attributes(node, _strings(names))
            case ast.RangeVar(relname=str(relation)):
                denied = _DENIED_RELATION.fullmatch(relation) is not None
                _require(not denied, f"The catalog {relation} may not be read.")
            case _ if _is_statement(node) and type(node) not in self._allowed:
                raise ToolFailure(f"{_kind(node)} is not allowed: {self._otherwise}")


def _check_function(path: Sequence[str]) -> None:
    name = path[-1]
    schema = path[-2] if len(path) > 1 else ""
    denied = _is_denied(name) or schema in _DENIED_SCHEMAS
    _require(not denied, f"The function {name} is not allowed: it may do more than read tables.")


def _check_attributes(node: ast.Node, names: Sequence[str]) -> None:
    """`t.f` calls the function `f` on the row `t` when `t` has no such column."""
    attributes = names[1:] if isinstance(node, ast.ColumnRef) else names
    for name in attributes:
        _require(not _is_denied(name), f"{name} is not allowed: it may call the function of that name.")


def _is_denied(function: str) -> bool:
    return bool(_DENIED_FUNCTION.fullmatch(function)) and not _HARMLESS_PG.fullmatch(function)


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
