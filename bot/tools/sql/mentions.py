"""Names that a statement mentions, and the columns that each of its FROM items is known to have. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pglast import ast
from pglast.enums import A_Expr_Kind

UNKNOWN = ""
"""Stands for the name of a FROM item whose name is not known, so that it may be any."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name as the parser read it; `schema` is empty when there is none.

    `refusal` is the reason why it may only be one of the user's own objects, empty when any object will do.
    """

    name: str
    schema: str = ""
    refusal: str = ""

    @property
    def quoted(self) -> str:
        """The name as SQL."""
        return ".".join(quoted(each) for each in (self.schema, self.name) if each)


@dataclass(frozen=True, slots=True)
class Source:
    """A FROM item: its columns as far as the statement tells them, or the relation that has them."""

    columns: frozenset[str] = frozenset()
    relation: Name | None = None


@dataclass(frozen=True, slots=True)
class Mentions:
    """Everything that a statement names.

    `calls` are functions. `attributes` are `t.f` and `(x).f`, which call the function `f` when there is no
    such column; there `schema` is the name before the dot. `given` are the queries of WITH, `sources` the
    items of FROM, each by name; in two scopes a name may stand for two of them.
    """

    calls: frozenset[Name] = frozenset()
    attributes: frozenset[Name] = frozenset()
    relations: frozenset[Name] = frozenset()
    operators: frozenset[str] = frozenset()
    types: frozenset[Name] = frozenset()
    sources: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    given: Mapping[str, Sequence[Source]] = field(default_factory=dict)


def quoted(name: str) -> str:
    """Return the identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def strings(nodes: Sequence[ast.Node] | None) -> list[str]:
    """Return the names in a list that may hold `*` and subscripts, too, in the order of the list."""
    return [node.sval or "" for node in nodes or () if isinstance(node, ast.String)]


def source_of(item: ast.Node) -> tuple[str, Source] | None:
    """Return the name and the source of a FROM item; None for anything else."""
    match item:
        case ast.RangeVar(relname=str(relation), schemaname=schema, alias=alias):
            name = Name(relation, schema or "")
            if alias is None:
                return relation, Source(relation=name)
            columns = strings(alias.colnames)
            return alias.aliasname or "", Source(frozenset(columns)) if columns else Source(relation=name)
        case ast.RangeSubselect(alias=ast.Alias() as alias, subquery=query):
            return alias.aliasname or "", Source(_renamed(alias.colnames, query))
        case ast.RangeFunction(alias=ast.Alias() as alias, coldeflist=definitions):
            defined = [each.colname or "" for each in definitions or ()]
            return alias.aliasname or "", Source(frozenset([*strings(alias.colnames), *defined]))
        case ast.RangeFunction(functions=functions):
            return _called(functions), Source()
        case ast.JoinExpr(alias=ast.Alias() as alias) | ast.JsonTable(alias=ast.Alias() as alias):
            return alias.aliasname or "", Source(frozenset(strings(alias.colnames)))
        case ast.JoinExpr(join_using_alias=ast.Alias() as alias):
            return alias.aliasname or "", Source()
        case ast.JsonTable():
            return UNKNOWN, Source()
        case _:
            return None


def _called(functions: Any) -> str:  # pglast ships no types
    """Return the name that PostgreSQL gives to functions in FROM that have no alias."""
    match functions:
        case [[ast.FuncCall(funcname=path), *_], *_]:
            return strings(path)[-1]
        case _:  # CAST, COALESCE and the like have names that are found by many rules
            return UNKNOWN


def operators_of(node: ast.Node) -> frozenset[str]:
    """Return the operators that a node names, and those that it uses without naming them."""
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


def given_by(query: ast.CommonTableExpr) -> Source:
    """Return the source that a query of WITH is."""
    return Source(_renamed(query.aliascolnames, query.ctequery))


def _renamed(names: Sequence[ast.Node] | None, query: ast.Node | None) -> frozenset[str]:
    """Return the names of a list, or else those that the query itself gives to its columns."""
    return frozenset(strings(names)) if names else _named(query)


def _named(query: ast.Node | None) -> frozenset[str]:
    """Return columns that are surely in the query's result; what a star stands for is not among them."""
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
