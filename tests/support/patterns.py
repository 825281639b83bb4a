"""Search for every regular expression of the bot, and worst-case texts for each."""

import ast
import builtins
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, permutations
from pathlib import Path
from typing import Any

# the parts of a pattern have no public name, and no types
ops: Any = importlib.import_module("re._constants")
parser: Any = importlib.import_module("re._parser")

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(each for each in (ROOT / "bot").rglob("*.js") if each.parent.name != "vendor")
"""Scripts of the page; `test_page.py` measures what it does with the libraries."""

MODULES = sorted((ROOT / "bot").rglob("*.py"))

SCANS = frozenset({"search", "sub", "subn", "split", "findall", "finditer"})
WAYS = SCANS | {"match", "fullmatch"}
_MAKERS = WAYS | {"compile"}
_FLAGS = {name for name, value in vars(re).items() if isinstance(value, re.RegexFlag)}
_HARMLESS = _FLAGS | {"Match", "Pattern", "escape", "error"}

Text = Any
"""`str` or `bytes` of a pattern."""


@dataclass(frozen=True, slots=True)
class Use:
    """Pattern with its location and its uses."""

    where: str
    pattern: re.Pattern[Any]
    ways: frozenset[str]

    def calls(self) -> Iterator[Callable[[str], object]]:
        """Yield a function for each kind of use that applies it to a text."""
        given = (lambda text: text.encode("latin-1", "replace")) if self.is_bytes else str
        if self.ways & SCANS:
            yield lambda text: self.pattern.sub(given(""), given(text))
        for way in sorted(self.ways - SCANS):
            yield lambda text, way=way: getattr(self.pattern, way)(given(text))  # type: ignore[misc]

    @property
    def is_bytes(self) -> bool:
        return isinstance(self.pattern.pattern, bytes)


# --- in Python ------------------------------------------------------------------------------------------


def in_module(path: Path) -> list[Use]:
    """Return the patterns of one file: those in its source, and those in its objects."""
    source = path.read_text()
    names = path.relative_to(ROOT).with_suffix("").parts
    if names[-1] == "__main__":  # importing it would start the bot
        return in_source(source, {}, str(path.relative_to(ROOT)))
    module = importlib.import_module(".".join(names).removesuffix(".__init__"))
    uses = in_source(source, vars(module), str(path.relative_to(ROOT)))
    known = {use.pattern for use in uses}
    held = set(_held(vars(module), module.__name__)) - known
    return uses + [Use(f"{module.__name__} (object)", pattern, WAYS) for pattern in held]


def in_source(source: str, scope: dict[str, Any], where: str = "") -> list[Use]:
    """Return the patterns that `source` compiles or uses, with `x` for parts known only at run time."""
    tree = ast.parse(source)
    owners = {
        node.value: node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    ways: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in WAYS:
            ways.setdefault(node.value.id, set()).add(node.attr)
    uses: list[Use] = []
    for node in calls(tree):
        way = _re_name(node.func)
        here = ways.get(owners.get(node, ""), WAYS) if way == "compile" else {way}
        uses.append(Use(f"{where}:{node.lineno}", _made(node, way, scope), frozenset(here)))
    return uses


def calls(tree: ast.AST) -> list[ast.Call]:
    """Return the calls of functions of `re` that take a pattern."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _re_name(node.func) in _MAKERS]


def hidden_uses(source: str) -> list[str]:
    """Return uses of `re` that `in_source` does not see: all except calls with a pattern."""
    tree = ast.parse(source)
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    faults: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("re", "regex"):
            faults.append(f"line {node.lineno}: from {node.module} import")
        if isinstance(node, ast.Import):
            faults += [f"line {node.lineno}: import {each.name}" for each in node.names if _is_other(each)]
        if (name := _re_name(node)) and name not in _HARMLESS and not (name in _MAKERS and node in called):
            faults.append(f"line {node.lineno}: re.{name}")  # type: ignore[attr-defined]
    return faults


def _is_other(name: ast.alias) -> bool:
    return name.name == "regex" or (name.name == "re" and name.asname is not None)


def _re_name(node: ast.AST) -> str:
    is_ours = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "re"
    return node.attr if is_ours else ""  # type: ignore[attr-defined]


def _made(node: ast.Call, way: str, scope: dict[str, Any]) -> re.Pattern[Any]:
    known = _Known(scope)
    given = {each.arg: each.value for each in node.keywords}
    place = {"compile": 1, "sub": 4, "subn": 4, "split": 3}.get(way, 2)
    pattern = _value(given.get("pattern") or node.args[0], known)
    flags = given.get("flags") or (node.args[place] if len(node.args) > place else None)
    return re.compile(pattern, _value(flags, known) if flags else 0)


def _value(node: ast.expr, known: "_Known") -> Any:
    return eval(compile(ast.Expression(node), "<pattern>", "eval"), {}, known)


class _Known(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, "x")


def _held(things: dict[str, Any], module: str) -> Iterator[re.Pattern[Any]]:
    for thing in things.values():
        if isinstance(thing, re.Pattern):
            yield thing
        elif isinstance(thing, tuple | list | set | frozenset):
            yield from (each for each in thing if isinstance(each, re.Pattern))
        elif isinstance(thing, dict) and thing is not things:
            yield from (each for each in thing.values() if isinstance(each, re.Pattern))
        elif isinstance(thing, type) and thing.__module__ == module:
            yield from _held(dict(vars(thing)), module)


# --- in JavaScript --------------------------------------------------------------------------------------

# a slash behind one of these begins a pattern, behind anything else it divides
_BEFORE_LITERAL = set("(,=:[!&|?{};+->") | {""}
_SCRIPT = re.compile(
    r"""(?P<skipped>\s+|//[^\n]*|/\*.*?\*/)|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)
    |(?P<word>[\w$]+)|(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_LITERAL = re.compile(r"/((?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+)/([a-z]*)")


def in_script(path: Path) -> list[Use]:
    """Return the patterns of a script in Python's syntax: both engines backtrack in the same way."""
    uses: list[Use] = []
    for body, flags, line in literals(path.read_text()):
        spelt = body.replace(r"\p{L}\p{N}_", r"\w").replace("[^]", r"[\s\S]")
        flag = (re.IGNORECASE if "i" in flags else 0) | (re.MULTILINE if "m" in flags else 0)
        flag |= re.DOTALL if "s" in flags else 0
        ways = WAYS if "y" not in flags else frozenset({"match"})
        uses.append(Use(f"{path.relative_to(ROOT)}:{line}", re.compile(spelt, flag), ways))
    return uses


def literals(source: str) -> Iterator[tuple[str, str, int]]:
    """Yield the pattern literals of a script: body, flags, and line."""
    at, before = 0, ""
    while at < len(source):
        literal = _LITERAL.match(source, at) if before in _BEFORE_LITERAL or before == "return" else None
        token = _SCRIPT.match(source, at)
        assert token is not None
        if literal and not token["skipped"]:
            yield literal[1], literal[2], source.count("\n", 0, at) + 1
            at, before = literal.end(), "/"
            continue
        at = token.end()
        before = before if token["skipped"] else token[0]


# --- hostile texts --------------------------------------------------------------------------------------

_MOST_UNITS = 28
_MOST_TAILS = 5


def hostile(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], str]]:
    """Yield makers of documents of any length: a repeated part, between its prefix and a mismatch."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = parser.parse(
        source, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    )
    letters = list(dict.fromkeys(_letters(tree)))[:10]
    repeats = list(dict.fromkeys(_repeats(tree, "")))
    tails = ["", "\0", "\n", *letters][:_MOST_TAILS]
    alone = [("", letter) for letter in letters]
    joined = [("", head + body) for head, body in repeats if head]
    pairs = [("", one + other) for one, other in permutations(letters[:5], 2)]
    seen: set[tuple[str, str, str]] = set()
    for head, unit in [*repeats, *joined, *alone, *pairs][:_MOST_UNITS]:
        for tail in tails:
            if unit and (head, unit, tail) not in seen:
                seen.add((head, unit, tail))
                yield lambda length, head=head, unit=unit, tail=tail: _document(head, [unit], tail, length)  # type: ignore[misc]
    if "(?P=" in source or r"\1" in source:  # what is matched again: runs of each length
        for letter in letters:
            yield lambda length, letter=letter: _runs(letter, length)  # type: ignore[misc]
    for one, other in permutations(letters[:5], 2):
        yield lambda length, units=(one, other): _document("", units, "\0", length)  # type: ignore[misc]


def _runs(letter: str, length: int) -> str:
    return " ".join(letter * size for size in range(1, int((2 * length) ** 0.5)))


def _document(head: str, units: Iterable[str], tail: str, length: int) -> str:
    units = list(units)
    room = max(length - len(head) - len(tail), 0) // len(units)
    return head + "".join(unit * (room // len(unit)) for unit in units) + tail


def _letters(tree: Any) -> Iterator[str]:
    """Yield characters that the pattern names, and one of each class and its complement."""
    for op, argument in tree:
        if op in (ops.LITERAL, ops.NOT_LITERAL):
            yield chr(argument)
        elif op is ops.ANY:
            yield "a"
        elif op is ops.IN:
            yield from _of_class(argument)
        else:
            yield from chain.from_iterable(map(_letters, _parts(op, argument)))


def _of_class(items: Any) -> list[str]:
    named = []
    for op, argument in items:
        if op is ops.LITERAL:
            named.append(chr(argument))
        elif op is ops.RANGE:
            named.append(chr(argument[0]))
        elif op is ops.CATEGORY:
            named += {"SPACE": [" ", "\t", "\n"], "DIGIT": ["1"], "WORD": ["a"]}.get(
                str(argument).rsplit("_", 1)[1], []
            )
    if any(op is ops.NEGATE for op, _ in items):
        return [letter for letter in "a (1" if letter not in named][:1] + named[:5]
    return named[:6]


def _parts(op: Any, argument: Any) -> list[Any]:
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
        return [argument[2]]
    if op is ops.SUBPATTERN:
        return [argument[3]]
    if op is ops.BRANCH:
        return list(argument[1])
    if op in (ops.ASSERT, ops.ASSERT_NOT):
        return [argument[1]]
    if op is ops.ATOMIC_GROUP:
        return [argument]
    return []


def _repeats(tree: Any, head: str) -> Iterator[tuple[str, str]]:
    """Yield the prefix of each repetition, and the repeated part."""
    for op, argument in tree:
        inner = _parts(op, argument)
        if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT) and argument[1] > 8:
            for body in _samples(argument[2]):
                yield head, body
        for part in inner:
            yield from _repeats(part, head)
        head += _sample([(op, argument)])


def _samples(tree: Any) -> list[str]:
    """Return a few matching texts that differ in their first choice."""
    if len(tree) == 1:
        op, argument = tree[0]
        if op is ops.IN:
            return _of_class(argument)[:4]
        if op in (ops.SUBPATTERN, ops.BRANCH):
            return [text for part in _parts(op, argument) for text in _samples(part)][:6]
    return [_sample(tree)]


def _sample(tree: Any) -> str:
    """Return a short matching text."""
    text = ""
    for op, argument in tree:
        if op is ops.LITERAL:
            text += chr(argument)
        elif op is ops.ANY:
            text += "a"
        elif op is ops.NOT_LITERAL:
            text += "b" if chr(argument) == "a" else "a"
        elif op is ops.IN:
            text += (_of_class(argument) or [""])[0]
        elif op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
            text += _sample(argument[2]) * argument[0]
        elif op is ops.BRANCH:
            text += _sample(argument[1][0])
        elif op is ops.ASSERT and argument[0] < 0:
            text += _sample(argument[1])
        elif op in (ops.SUBPATTERN, ops.ATOMIC_GROUP):
            text += _sample(_parts(op, argument)[0])
    return text
