"""Table of all settings, for the documentation."""

import json
from pathlib import Path
from typing import Any

from bot.config.settings import Settings


def settings_table(model: type[Settings]) -> str:
    """Return the Markdown table of all variables, for the documentation."""
    rows = ["| variable | meaning | default |", "|---|---|---|"]
    for name in _in_order(model):
        field = model.model_fields[name]
        rows.append(f"| `{name.upper()}` | {field.description} | {_default(name, field.default)} |")
    return "\n".join(rows)


def _in_order(model: type[Settings]) -> list[str]:
    """Return the names of the fields: the most important ones, the platforms, the rest, inherited ones."""
    first, *others = [name for name in Settings.__annotations__ if name in model.model_fields]
    of_platforms = [name for each in model.platforms for name in each.model_fields]
    return list(dict.fromkeys([first, *of_platforms, *others, *model.model_fields]))


def _default(name: str, value: Any) -> str:
    if value is None or value in ("", frozenset(), {}) or name == "bot_roles":
        return ""
    return f"`{value}`" if isinstance(value, str | Path) else f"`{json.dumps(value)}`"
