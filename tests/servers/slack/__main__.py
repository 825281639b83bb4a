"""Slack to try the bot by hand, without a token: `.venv/bin/python -m tests.servers.slack`.

It prints the variables for `./dev run` in another terminal. Each line that you type is a message of Alice in
#general that mentions the bot; what she then sees in its thread is printed. `+` before a line writes it into
the last thread, without a mention.
"""

import asyncio
import shlex

from tests.servers.slack.service import ALICE, GENERAL, PROXY_VARIABLES, Slack

ANSWER_SECONDS = 120.0


async def converse() -> None:
    """Serve until the input ends."""
    async with Slack() as slack:
        variables = {name: value for name, value in slack.environ.items() if name not in PROXY_VARIABLES}
        print(*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), "./dev run")
        thread: str | None = None
        while (line := await asyncio.to_thread(_read)) is not None:
            await slack.wait_for_connections(timeout=ANSWER_SECONDS)
            if thread and line.startswith("+"):
                await slack.say(ALICE, GENERAL, line[1:].strip(), thread)
            else:
                thread = await slack.say(ALICE, GENERAL, f"{slack.mention} {line}")
            try:
                print(await slack.answer(GENERAL, thread, timeout=ANSWER_SECONDS))
            except AssertionError as error:
                print(error)


def _read() -> str | None:
    """Return the next line, or None at the end of the input."""
    try:
        return input("> ")
    except EOFError:
        return None


if __name__ == "__main__":
    asyncio.run(converse())
