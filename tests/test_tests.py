"""Rules for the tests themselves: no test patches a number, and no module keeps state."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rooms import FILES

TESTS = Path(__file__).parent
NUMBERS = {
    name
    for path in FILES
    for names in re.findall(r"^([A-Z_][A-Z\d_, ]*)(?:: \w+)? = -?\d", path.read_text(), re.MULTILINE)
    for name in names.split(", ")
}
"""Constants of the bot that are numbers: times, sizes and counts."""

MAKERS = frozenset({"Counter", "OrderedDict", "count", "defaultdict", "deque", "dict", "iter", "list", "set"})
CHANGES = frozenset(
    {
        *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem"),
        *("popleft", "remove", "reverse", "setdefault", "sort", "update"),
    }
)


def patched(tree: ast.Module) -> set[str]:
    """Return the names of attributes that a file sets, by assignment or by `setattr`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Store()):
                names.add(name)
            case ast.Call(
                func=ast.Name(id="setattr") | ast.Attribute(attr="setattr"),
                args=[*_, ast.Constant(value=str(target)), _],
            ):
                names.add(target.rpartition(".")[2])
    return names


def state(tree: ast.Module) -> set[str]:
    """Return the names of a module, its own and imported constants, whose values a function changes."""
    nodes = list(ast.walk(tree))
    functions = [each for each in nodes if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    rebound = {name for each in nodes if isinstance(each, ast.Global) for name in each.names}
    mutable = set(_mutable(tree))
    return rebound | {name for each in functions if mutable for name in _changed(each) if name in mutable}


def _mutable(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ) if _is_mutable(value):
                yield name
            case ast.ImportFrom(names=imports):
                yield from (each.asname or each.name for each in imports if each.name.isupper())


def _is_mutable(value: ast.expr | None) -> bool:
    match value:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in MAKERS
        case _:
            displays = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
            return isinstance(value, displays)


def _changed(function: ast.AST) -> Iterator[str]:
    for node in ast.walk(function):
        match node:
            case (
                ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del())
                | ast.AugAssign(target=ast.Name(id=name))
                | ast.Call(func=ast.Name(id="next"), args=[ast.Name(id=name), *_])
                | ast.Call(func=ast.Attribute(attr="setitem"), args=[ast.Name(id=name), *_])
            ):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in CHANGES:
                yield name


def test_no_test_patches_a_number_or_keeps_state_in_its_module() -> None:
    """Times and sizes are arguments, and what a test changes is made for it."""
    faults: list[str] = []
    for path in sorted(TESTS.rglob("*.py")):
        name, tree = str(path.relative_to(TESTS)), ast.parse(path.read_text())
        faults += [f"{name} sets {each}: pass it" for each in patched(tree) & NUMBERS]
        faults += [f"{name} changes {each}, which belongs to its module" for each in state(tree)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("source", "is_patch"),
    [
        ('monkeypatch.setattr(worker, "MAX_FAILURES", 3)', True),
        ('monkeypatch.setattr("bot.inbox.worker.MAX_FAILURES", most)', True),
        ("worker.MAX_FAILURES = 3", True),
        ("a.x, worker.MAX_FAILURES = 0, 3", True),
        ("MAX_FAILURES = 3", False),
        ("assert worker.MAX_FAILURES == 3", False),
        ('monkeypatch.setattr(worker, "serve", Other)', False),
    ],
)
def test_a_patched_number_is_seen(source: str, is_patch: bool) -> None:
    """In every form, and only where it is set."""
    assert bool(patched(ast.parse(source)) & NUMBERS) == is_patch


@pytest.mark.parametrize(
    ("source", "is_state"),
    [
        ("MADE = []\ndef test():\n    MADE.append(1)", True),
        ("MADE: dict[str, int] = {}\ndef test():\n    MADE['a'] = 1", True),
        ("number = 0\nasync def test():\n    global number\n    number += 1", True),
        ("_numbers = itertools.count(1)\ndef number():\n    return next(_numbers)", True),
        ("from tests.support.slack import SHARED\ndef test():\n    SHARED[:] = [1]", True),
        ("from bot.rates import RATES\ndef test():\n    monkeypatch.setitem(RATES, 'a', 1)", True),
        ("MADE = [1]\nMADE += [2]\ndef test():\n    assert MADE[0]", False),
        ("def test():\n    made = []\n    made.append(1)", False),
    ],
)
def test_state_of_a_module_is_seen(source: str, is_state: bool) -> None:
    """The checker tells what a function changes from a constant."""
    assert bool(state(ast.parse(source))) == is_state
