"""An agent for tests of what stands around it: it answers with a function."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from bot.chat import Part, Turn

Answer = Callable[[Turn], AsyncIterator[Part]]


class FunctionAgent:
    """Implements `bot.chat.Agent`."""

    def __init__(self, answer: Answer, conclude: Callable[[Turn, str], Awaitable[Sequence[Part]]]) -> None:
        self._answer = answer
        self._conclude = conclude

    def answer(self, turn: Turn) -> AsyncIterator[Part]:
        return self._answer(turn)

    async def find_answer(self, turn: Turn) -> str | None:
        return None

    async def conclude(self, turn: Turn, answer: str) -> Sequence[Part]:
        return await self._conclude(turn, answer)
