"""The list of all tools, as plug-ins come and go."""

from typing import Any

from langchain_core.tools import BaseTool, tool

from bot.tools.plugins import Toolbox


def made(name: str) -> BaseTool:
    @tool(name)
    async def nothing() -> str:
        """Do nothing."""
        return ""

    made: Any = nothing
    assert isinstance(made, BaseTool)
    return made


def test_own_tools_come_first_and_plugins_are_replaced_one_by_one() -> None:
    """In the order in which the plug-ins were first named."""
    box = Toolbox([made("own")])
    box.put("a", ())
    box.put("b", [made("b1")])
    box.put("a", [made("a1"), made("a2")])
    assert [each.name for each in box] == ["own", "a1", "a2", "b1"]
    box.put("a", [made("a3")])
    assert [each.name for each in box] == ["own", "a3", "b1"]


def test_a_model_is_given_no_more_than_it_takes() -> None:
    """The last ones are left out and counted."""
    box = Toolbox([made("own")])
    box.put("a", [made(f"a{number}") for number in range(100)])
    box.put("b", [made(f"b{number}") for number in range(40)])
    assert (len(box), box[0].name, box[-1].name, box.left_out) == (120, "own", "b18", 21)
