"""All tools that the model is given; those of plug-ins come and go while the bot runs."""

from collections.abc import Sequence
from typing import overload

from langchain_core.tools import BaseTool

MOST_TOOLS = 120
"""OpenAI takes 128 in a request."""


class Toolbox(Sequence[BaseTool]):
    """A list that changes: whoever uses it looks each time. The bot's own tools come first, and stay."""

    def __init__(self, own: Sequence[BaseTool] = ()) -> None:
        self._own = tuple(own)
        self._plugins: dict[str, tuple[BaseTool, ...]] = {}
        self._all = self._own
        self.left_out = 0
        """How many there are beyond what a model takes."""

    def put(self, plugin: str, tools: Sequence[BaseTool]) -> None:
        """Replace the tools of a plug-in."""
        self._plugins[plugin] = tuple(tools)
        self._gather()

    def _gather(self) -> None:
        every = [*self._own, *(tool for tools in self._plugins.values() for tool in tools)]
        self._all = tuple(every[:MOST_TOOLS])
        self.left_out = len(every) - len(self._all)

    @overload
    def __getitem__(self, index: int) -> BaseTool: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[BaseTool]: ...
    def __getitem__(self, index: int | slice) -> BaseTool | Sequence[BaseTool]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)
