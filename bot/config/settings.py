"""Settings of the bot: all variables from the environment or `.env`, validated together.

docs/settings.md contains a table that is generated from this class (`python -m bot settings`).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from pydantic import (
    AfterValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode

from bot.chat import ChannelSettings
from bot.config.access import (
    AccessSettings,
    one_line,
    require_prefix,
    split_commas,
)
from bot.config.addresses import (
    check_redis_address,
    check_server_address,
    passwords_in,
)
from bot.config.approvals import ApprovalSettings, one_channel
from bot.config.conversation import ConversationSettings
from bot.config.encryption import EncryptionSettings
from bot.config.environment import ConfigError, check_env_file
from bot.config.hooks import HookSettings
from bot.config.platform import HttpAddress, PlatformSettings
from bot.config.plugins import PluginSettings, plugin_settings
from bot.config.reserved_keys import find_overlap

WORKER = "worker"
"""Role of a process that answers; the other roles are the platforms that it listens to."""

Kind = TypeVar("Kind", bound=PlatformSettings)

Names = Annotated[frozenset[str], NoDecode]
"""Comma-separated list."""


class Settings(AccessSettings, ApprovalSettings, ConversationSettings, EncryptionSettings, HookSettings):
    """Environment variables of the bot; the name of each is the field's name in upper case.

    The class is independent of platforms: `settings_with` adds the settings of each.
    """

    platforms: ClassVar[Sequence[type[PlatformSettings]]] = ()

    bot_env: Literal["development", "production"] = Field(
        "development",
        description="`production` refuses to start without REDIS_URL, DATABASE_URL, a model and a platform",
    )
    openai_api_key: Annotated[SecretStr, AfterValidator(one_line)] | None = Field(
        None,
        description="API key of the OpenAI-compatible service; without it and OPENAI_BASE_URL the offline "
        "model answers",
    )
    openai_base_url: HttpAddress | None = Field(
        None, description="base URL of the OpenAI-compatible service; default OpenAI's"
    )
    openai_model: str = Field("gpt-5-mini", description="model that answers")
    openai_fallback_model: str | None = Field(
        None, description="model that answers if the first one fails or is slow"
    )
    openai_vision: bool = Field(
        True, description="`false`: the model cannot process pictures; users are told so"
    )
    openai_embedding_model: str | None = Field(
        None, description="embedding model for memory search; default an offline one"
    )
    openai_transcription_model: str | None = Field(
        None,
        description="model that transcribes voice messages and other recordings; without it users are told "
        "that the bot cannot listen",
    )
    request_timeout: PositiveFloat = Field(
        30, description="seconds to wait for the next piece of the model's answer"
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis 8 or Redis Stack (`redis://`, `rediss://`, `unix://`; behind Sentinels "
        "`redis+sentinel://[user:password@]host:port,…/service`; for your own CA add "
        "`?ssl_ca_certs=FILE`); default an embedded one",
    )
    database_url: SecretStr | None = Field(
        None, description="Postgres for the SQL tools; default an embedded one with sample data"
    )
    sql_allow_privileged_role: bool = Field(
        False,
        description="`true`: the SQL tools work in production even if the role of DATABASE_URL can do more "
        "than read",
    )
    mcp_servers: SecretStr | None = Field(
        None, description="MCP servers with tools for the agent, as JSON ([how](plugins.md))"
    )
    tool_plugins: str = Field(
        "", description="installed packages with tools for the agent, by entry point ([how](plugins.md))"
    )
    data_dir: Path = Field(Path(".bot"), description="directory for the files of the embedded servers")
    admin_users: Names = Field(
        frozenset(), description="users who can run operations: `slack:U…,discord:…`, separated by commas"
    )
    allowed_users: Names = Field(
        frozenset(), description="users who can talk to the bot, as in ADMIN_USERS; default everyone"
    )
    allowed_channels: Names = Field(
        frozenset(),
        description="channels where the bot answers, besides direct messages: `slack:C…,discord:…`; "
        "default all",
    )
    max_iterations: PositiveInt = Field(5, description="maximum number of rounds of tool calls in a turn")
    max_workers: PositiveInt = Field(10, description="maximum number of concurrent turns in this process")
    event_loop: Literal["uvloop", "asyncio"] = Field(
        "uvloop", description="event loop: uvloop's where it is installed, or Python's own, `asyncio`"
    )
    db_pool_size: PositiveInt = Field(10, description="maximum number of connections to Postgres")
    redis_pool_size: int = Field(20, ge=4, description="maximum number of connections to Redis")
    enable_memory: bool = Field(True, description="`false`: each message is answered without earlier ones")
    memory_ttl_days: PositiveInt = Field(180, description="days after which a saved fact is forgotten")
    thread_ttl_days: PositiveInt = Field(30, description="days after which an idle thread is forgotten")
    history_tokens: int = Field(
        8000, ge=500, description="maximum number of tokens of history that the model receives"
    )
    context_messages: int = Field(
        50,
        ge=0,
        le=100,
        description="maximum number of earlier messages that are read when the bot is called into a "
        "conversation; `0`: none",
    )
    file_max_bytes: PositiveInt = Field(10 << 20, description="largest size of a file from users, in bytes")
    file_max_count: PositiveInt = Field(5, description="maximum number of files of a message that are read")
    file_text_chars: int = Field(
        20_000, ge=500, description="maximum number of characters of a file's text that the model receives"
    )
    bot_name: str = Field(
        "",
        description="name of this process, unique and stable over restarts; default host and DATA_DIR",
    )
    bot_roles: Annotated[frozenset[str], NoDecode] = Field(frozenset(), description="see `settings_with`")
    lease_seconds: float = Field(
        15,
        ge=1,
        le=3600,
        description="seconds after which another process takes over the turns of a dead one",
    )
    turn_timeout: PositiveFloat = Field(
        600, description="seconds after which a turn ends with a sentence to the user"
    )
    catch_up_hours: float = Field(
        24,
        ge=0,
        le=60,  # duplicates of a message are recognised for three days
        description="hours to look back, at most, for messages that were missed while not connected",
    )
    shutdown_grace: float = Field(
        20, ge=0, description="seconds that running turns have to finish when the bot stops"
    )
    redis_ops_prefix: str = Field(
        "kv:",
        min_length=1,
        max_length=100,
        description="prefix of the keys that `/agent-redis` and `/redis/direct` can use; separate from the "
        "bot's own keys",
    )
    debug: bool = Field(False, description="`true`: log more, including the texts of messages")
    log_format: Literal["console", "json"] = Field(
        "console", description="`json` writes one JSON object per line"
    )

    @field_validator(
        "admin_users", "approvers", "allowed_users", "allowed_channels", "bot_roles", mode="before"
    )
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return split_commas(value)

    @field_validator(
        "admin_users",
        "approvers",
        "allowed_users",
        "allowed_channels",
        "allowed_spaces",
        "allowed_roles",
        "allowed_bots",
    )
    @classmethod
    def _require_prefixes(cls, ids: frozenset[str]) -> frozenset[str]:
        return require_prefix(ids, [f"{each.info.name}:{each.info.user_example}" for each in cls._chats()])

    @field_validator("approvals_channel")
    @classmethod
    def _channel_of_a_platform(cls, channel: str) -> str:
        return one_channel(channel, [each.info for each in cls._chats()])

    @field_validator("redis_url", "database_url", "database_write_url")
    @classmethod
    def _server_address(cls, url: SecretStr | None, info: Any) -> SecretStr | None:
        if url is None:
            return None
        if info.field_name == "redis_url":
            check_redis_address(url.get_secret_value())
        else:
            check_server_address(url.get_secret_value(), ("postgres", "postgresql"))
        return url

    @field_validator("redis_ops_prefix")
    @classmethod
    def _apart_from_own_keys(cls, prefix: str) -> str:
        if not prefix.isprintable():
            raise ValueError("use printable characters")
        if own := find_overlap(prefix):
            raise ValueError(
                f"would give users access to the bot's own keys ({own}…): choose another one, for example kv:"
            )
        return prefix

    @field_validator("bot_name")
    @classmethod
    def _usable_name(cls, name: str) -> str:
        if name and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise ValueError("use 1 to 64 letters, digits, - or _")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        problems = [
            *(problem for each in self.each_platform() for problem in each.problems(self.bot_roles)),
            *self._model_problems(),
            *self.instruction_problems(),
            *self._approval_problems(),
            *self.budget_problems(self.models),
            *self.id_problems(self.each_platform()),
            *self.plugins.problems,
            *self.hook_problems(self.each_platform(), self.allowed_channels),
            *self._production_problems(),
        ]
        if problems:
            raise ValueError(_SEPARATOR.join(problems))
        return self

    def _model_problems(self) -> list[str]:
        models = {f"openai_{each}model" for each in ("", "fallback_", "embedding_", "transcription_")}
        named = self.model_fields_set & (models | {"channel_models"})
        if named and not self.has_model:
            return [f"{name.upper()}: also set OPENAI_API_KEY or OPENAI_BASE_URL" for name in sorted(named)]
        return []

    def _approval_problems(self) -> list[str]:
        if self.sql_writes == "off" or self.who_approves:
            return []
        return ["SQL_WRITES: also set APPROVERS or ADMIN_USERS, or nobody could approve anything"]

    @property
    def plugins(self) -> PluginSettings:
        """Return the plug-ins of MCP_SERVERS and TOOL_PLUGINS."""
        return plugin_settings(self.mcp_servers, self.tool_plugins, has_approvers=bool(self.who_approves))

    @property
    def who_approves(self) -> frozenset[str]:
        """Return the users who can decide approval requests."""
        return self.approvers or self.admin_users

    @property
    def models(self) -> list[tuple[str, str]]:
        """Return the models in use, each after its variable."""
        named = [("OPENAI_MODEL", self.openai_model), ("OPENAI_FALLBACK_MODEL", self.openai_fallback_model)]
        named += [("CHANNEL_MODELS", model) for model in sorted(self.channel_models)]
        return [(name, model) for name, model in named if model and self.has_model]

    @property
    def channel_defaults(self) -> ChannelSettings:
        """Return the settings of a channel without its own; the offline model has no name."""
        return ChannelSettings(follow_up=self.follow_up, model=self.openai_model if self.has_model else "")

    @property
    def all_models(self) -> list[tuple[str, str]]:
        """Return the models in use, with the one that transcribes."""
        name = self.openai_transcription_model
        return [*self.models, *([("OPENAI_TRANSCRIPTION_MODEL", name)] if name else [])]

    @property
    def has_model(self) -> bool:
        """Return True if a model service is configured."""
        return self.openai_api_key is not None or self.openai_base_url is not None

    def _production_problems(self) -> list[str]:
        if self.bot_env != "production":
            return []
        required = {
            "REDIS_URL": self.redis_url,
            "DATABASE_URL": self.database_url,
            "OPENAI_API_KEY or OPENAI_BASE_URL": self.has_model,
        }
        problems = [
            f"{name}: must be set when BOT_ENV=production" for name, value in required.items() if not value
        ]
        if not any(each.is_configured for each in self.each_platform()):
            problems.append(f"{self._switches()} when BOT_ENV=production")
        kept = [each.keeps_secrets_with for each in self.each_platform() if each.keeps_secrets]
        return [*problems, *self.key_problems(kept), *self.space_problems(self.each_platform())]

    def _switches(self) -> str:
        """Return the beginning of the sentence that no platform is switched on."""
        chats = " or ".join(each.switch.upper() for each in self._chats())
        others = [each for each in self.platforms if each.is_always_on]
        alone = [f", or {each.switch.upper()} for {each.info.title} alone," for each in others]
        return f"{chats}: one must be set{''.join(alone)}"

    @classmethod
    def _chats(cls) -> list[type[PlatformSettings]]:
        """Return the settings of the chat services: the platforms that have to be switched on."""
        return [each for each in cls.platforms if not each.is_always_on]

    def of(self, kind: type[Kind]) -> Kind:
        """Return the settings of one platform, which `settings_with` has added."""
        values: Any = {name: getattr(self, name) for name in kind.model_fields}
        return cast(Kind, kind.model_construct(**values))

    def each_platform(self) -> list[PlatformSettings]:
        """Return the settings of each platform."""
        return [self.of(kind) for kind in self.platforms]

    def secrets(self) -> list[str]:
        """Return the values that logs must hide."""
        fields = [getattr(self, name) for name in type(self).model_fields]
        fields += [each for value in fields if isinstance(value, Mapping) for each in value.values()]
        values = [value.get_secret_value() for value in fields if isinstance(value, SecretStr)]
        values += [*self.plugins.secrets, *self.hook_secrets]
        # an error may print a password without the address that it came in
        return [*values, *(password for value in values for password in passwords_in(value))]


_SEPARATOR = "\x00"  # between the sentences of _consistent: one validator can raise only one error


def settings_with(platforms: Sequence[type[PlatformSettings]]) -> type[Settings]:
    """Return the class of all settings: those of the bot and those of each platform."""
    roles = (*(each.info.name for each in platforms), WORKER)
    choice = ", ".join(f"`{role}`" for role in roles)
    every_role = Field(frozenset(roles), description=f"roles of this process: any of {choice}; default all")
    bases: Any = (Settings, *platforms)
    one_of: Any = Literal[roles]
    model = cast(
        type[Settings],
        create_model(
            "Settings", __base__=bases, bot_roles=(Annotated[frozenset[one_of], NoDecode], every_role)
        ),
    )
    model.platforms = platforms
    return model


def load_settings(model: type[Settings]) -> Settings:
    """Read the environment and `.env`. Raises `ConfigError` with every problem at once."""
    check_env_file()
    try:
        return model()
    except ValidationError as error:
        problems = _problems(error)
        faulty = [str(each["loc"][0]) for each in error.errors() if each["loc"]]
    # from None: the cause would print the values
    raise ConfigError([*problems, *_further_problems(model, faulty)]) from None


def _further_problems(model: type[Settings], faulty: list[str]) -> list[str]:
    """Return the conflicts between variables, which pydantic checks only if each variable is valid."""
    if not faulty:
        return []
    defaults = {name: model.model_fields[name].default for name in faulty}
    try:
        model(**defaults)
    except ValidationError as error:
        names = [name.upper() for name in faulty]
        return [text for text in _problems(error) if not any(name in text for name in names)]
    return []


def _problems(error: ValidationError) -> list[str]:
    problems: list[str] = []
    for each in error.errors(include_input=False, include_url=False):
        text = each["msg"].removeprefix("Value error, ")
        if each["loc"]:
            problems.append(f"{str(each['loc'][0]).upper()}: {text[:1].lower()}{text[1:]}")
        else:
            problems.extend(text.split(_SEPARATOR))
    return list(dict.fromkeys(problems))
