"""Settings of requests to users, a part of `Settings`: approvals, changes of the database, questions."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from bot.chat import PlatformInfo


class ApprovalSettings(BaseSettings):
    """Settings for database changes and decisions; `Settings` validates the lists of ids."""

    sql_writes: Literal["off", "approval"] = Field(
        "off",
        description="`approval`: the agent can change the database, if a user approves each change; it is so "
        "for the embedded sample data while neither a platform, a token nor approvers are set",
    )
    database_write_url: SecretStr | None = Field(
        None, description="the same database with a role that can write, for SQL_WRITES; default DATABASE_URL"
    )
    approvers: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(), description="users who can decide on approval requests; default ADMIN_USERS"
    )
    approvals_channel: str = Field(
        "",
        description="channel of the bot (`slack:C…`, `discord:…`) for approval requests that come from "
        "direct messages or that no approver would see; default direct messages to the approvers",
    )
    approval_four_eyes: bool = Field(False, description="`true`: nobody can approve their own requests")
    approval_hours: float = Field(
        24,
        gt=0,
        le=48,  # duplicates of a decision are recognised for three days
        description="hours after which an undecided request expires",
    )
    question_hours: float = Field(
        24,
        gt=0,
        le=48,  # as above
        description="hours after which a question of the agent to a user (`ask_user`) expires",
    )


def one_channel(channel: str, platforms: Sequence[PlatformInfo]) -> str:
    """Return the id of a channel that can show requests, if it is one. Raises `ValueError`."""
    able = {each.name: each for each in platforms if each.channel_ids}
    name, _, id = channel.partition(":")
    ids = able[name].channel_ids if name in able else None
    if channel and not (ids and ids.fullmatch(id)):
        examples = " or ".join(f"{each.name}:{each.channel_example}" for each in able.values())
        raise ValueError(f"write one channel as {examples}")
    return channel
