"""Settings of what people approve: what the agent may ask leave for, and who gives it."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode


class ApprovalSettings(BaseSettings):
    """Changes of the database, and decisions. What is read from the environment is checked by `Settings`."""

    sql_writes: Literal["off", "approval"] = Field(
        "off", description="`approval`: the agent may change the database, each time a person approves it"
    )
    database_write_url: SecretStr | None = Field(
        None, description="the same database for a role that may write, for SQL_WRITES; default DATABASE_URL"
    )
    approvers: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(), description="who may approve what the agent asks leave for, default ADMIN_USERS"
    )
    approval_four_eyes: bool = Field(
        False, description="`true`: nobody approves what they have asked for themselves"
    )
    approval_hours: float = Field(
        24,
        gt=0,
        le=48,  # a decision is known again for three days
        description="hours after which a request that nobody has decided expires",
    )
