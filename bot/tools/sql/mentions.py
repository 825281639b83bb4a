"""Names in a statement, and the known columns of each FROM item. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pglast import ast
from pglast.enums import A_Expr_Kind

UNKNOWN = ""
"""Name of a FROM item whose name is unknown, so that it may be any."""


@dataclass(frozen=True, slots=True)
class Name:
    """Parsed name; `schema` is empty if there is none.

    `refusal` is the reason why it may only be a user-defined object; empty if any object is allowed.
    """

    name: str
    schema: str = ""
    refusal: str = ""

    @property
    def sql(self) -> str:
        """Return the name as SQL."""
        return ".".join(quote(each) for each in (self.schema, self.name) if each)


@dataclass(frozen=True, slots=True)
class Source:
    """FROM item: its columns as far as the statement names them, or its relation."""

    columns: frozenset[str] = frozenset()
    relation: Name | None = None


@dataclass(frozen=True, slots=True)
class Mentions:
    """All names in a statement.

    `calls` are functions; `attributes` are `t.f` and `(x).f` (`schema` is the part before the dot), which
    call the function `f` if there is no such column; `with_queries` are WITH queries and `sources` FROM
    items, by name.
    """

    calls: frozenset[Name] = frozenset()
    attributes: frozenset[Name] = frozenset()
    relations: frozenset[Name] = frozenset()
    operators: frozenset[str] = frozenset()
    types: frozenset[Name] = frozenset()
    sources: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    with_queries: Mapping[str, Sequence[Source]] = field(default_factory=dict)


def quote(name: str) -> str:
    """Return the identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def strings(nodes: Sequence[ast.Node] | None) -> list[str]:
    """Return the names in a list that may also hold `*` and subscripts, in order."""
    return [node.sval or "" for node in nodes or () if isinstance(node, ast.String)]


def source_of(item: ast.Node) -> tuple[str, Source] | None:
    """Return the name and the source of a FROM item, or None for other nodes."""
    match item:
        case ast.RangeVar(relname=str(relation), schemaname=schema, alias=alias):
            name = Name(relation, schema or "")
            if alias is None:
                return relation, Source(relation=name)
            columns = strings(alias.colnames)
            return alias.aliasname or "", Source(frozenset(columns)) if columns else Source(relation=name)
        case ast.RangeSubselect(alias=ast.Alias() as alias, subquery=query):
            return alias.aliasname or "", Source(_column_names(alias.colnames, query))
        case ast.RangeFunction(alias=ast.Alias() as alias, coldeflist=definitions):
            defined = [each.colname or "" for each in definitions or ()]
            return alias.aliasname or "", Source(frozenset([*strings(alias.colnames), *defined]))
        case ast.RangeFunction(functions=functions):
            return _default_alias(functions), Source()
        case ast.JoinExpr(alias=ast.Alias() as alias) | ast.JsonTable(alias=ast.Alias() as alias):
            return alias.aliasname or "", Source(frozenset(strings(alias.colnames)))
        case ast.JoinExpr(join_using_alias=ast.Alias() as alias):
            return alias.aliasname or "", Source()
        case ast.JsonTable():
            return UNKNOWN, Source()
        case _:
            return None


def _default_alias(functions: Any) -> str:  # pglast ships no types
    """Return PostgreSQL's name for functions in FROM without an alias."""
    match functions:
        case [[ast.FuncCall(funcname=path), *_], *_]:
            return strings(path)[-1]
        case _:  # CAST, COALESCE and others get their names by many rules
            return UNKNOWN


def operators_of(node: ast.Node) -> frozenset[str]:
    """Return the operators of a node, including implicit ones."""
    match node:
        case ast.A_Expr(kind=kind) if kind in _BETWEEN:
            return frozenset({"<", "<=", ">", ">="})
        case ast.A_Expr(name=path) | ast.SubLink(operName=[*_] as path) | ast.SortBy(useOp=[*_] as path):
            return frozenset(strings(path)[-1:])
        case ast.SubLink() | ast.CaseExpr() | ast.JoinExpr():  # x IN (SELECT …), CASE x WHEN …, USING (x)
            return frozenset({"="})
        case _:
            return frozenset()


_BETWEEN = frozenset(each for each in A_Expr_Kind if "BETWEEN" in each.name)


def query_source(query: ast.CommonTableExpr) -> Source:
    """Return the source of a WITH query."""
    return Source(_column_names(query.aliascolnames, query.ctequery))


def _column_names(names: Sequence[ast.Node] | None, query: ast.Node | None) -> frozenset[str]:
    """Return the column names of an alias list, or else those of the query."""
    return frozenset(strings(names)) if names else _result_columns(query)


def _result_columns(query: ast.Node | None) -> frozenset[str]:
    """Return columns that are certainly in the query's result; those of a star are not known."""
    while isinstance(query, ast.SelectStmt) and query.larg is not None:  # UNION: its first part names them
        query = query.larg
    if not isinstance(query, ast.SelectStmt):
        return frozenset()
    found: set[str] = set()
    for target in query.targetList or ():
        match target:
            case ast.ResTarget(name=str(name)):
                found.add(name)
            case ast.ResTarget(val=ast.ColumnRef(fields=[*_, ast.String(sval=str(name))])):
                found.add(name)
    return frozenset(found)
