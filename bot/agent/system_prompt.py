"""System message of a request. Pure."""

from dataclasses import dataclass

from bot.agent import prompts
from bot.agent.spotlighting import mark


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPrompt:
    """Parts of the system message that do not depend on the thread's memory.

    `instructions` are those of the deployment, `channel_instructions` those of the channel's administrators;
    `asker` describes the user who asks.
    """

    instructions: str = ""
    channel_instructions: str = ""
    is_restricted: bool = False
    may_be_silent: bool = False
    asker: str = ""

    def text(self, summary: str, *, must_conclude: bool) -> str:
        """Return the message: what stays the same comes first, so that services can cache it."""
        parts = [
            prompts.SYSTEM,  # the same for all
            prompts.INSTRUCTIONS.format(text=self.instructions) if self.instructions else "",
            prompts.CHANNEL_INSTRUCTIONS.format(text=self.channel_instructions)
            if self.channel_instructions
            else "",
            prompts.RESTRICTED if self.is_restricted else "",  # depends on the user
            prompts.SUMMARY.format(summary=mark("the summary", summary)) if summary else "",  # on the thread
            prompts.MAY_BE_SILENT if self.may_be_silent else "",  # on the turn
            self.asker,
            # some services accept no later system message
            prompts.CONCLUDE if must_conclude else "",  # on the round
        ]
        return "\n\n".join(part for part in parts if part)
