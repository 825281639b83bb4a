"""Rooms of `bot/`: the folder or root file of each module, and the names that a module imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

BOT = Path(__file__).parents[2] / "bot"
FILES = sorted(BOT.rglob("*.py"))


def room_of(name: str) -> str:
    """Return the folder, as `tools.sql` for `bot.tools.sql.guard`, or the root file of a module."""
    names = name.split(".")
    depth = next((n for n in range(min(3, len(names)), 1, -1) if BOT.joinpath(*names[1:n]).is_dir()), 2)
    return ".".join(names[1:depth]) or "__init__"


def module_of(path: Path) -> str:
    names = path.relative_to(BOT.parent).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" and len(names) > 2 else names)


@cache
def imports_of(source: str) -> tuple[str, ...]:
    """Return the names that a module imports, wherever in the file: `from bot import a` gives `bot.a`."""
    return tuple(_imports(source))


def _imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (f"{origin}.{alias.name}" for alias in node.names)
