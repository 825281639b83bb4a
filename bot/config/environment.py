"""Environment variables and `.env`: sources of settings, unreadable lines, misspelled names."""

import difflib
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

ENV_FILE = Path(".env")
"""File in the working directory; the environment has precedence."""

ENV_ENCODING = "utf-8-sig"
"""UTF-8, with or without a byte order mark."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_REFERENCE = re.compile(r"\$\{([^{}:]+)")
"""Reference to a variable: `${NAME}`, or `${NAME:-default}`."""

_SIMILARITY = 0.82
_MOST_CHARS = 64


class ConfigError(Exception):
    """Invalid settings; `problems` has a sentence for each, without values of secrets."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class EnvironmentSettings(BaseSettings):
    """Settings from the environment, else from `.env`."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding=ENV_ENCODING,
        env_ignore_empty=True,
        defer_build=True,  # only the class that has all parts is used
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keep `${NAME}` in MCP_SERVERS: dotenv would expand it, and hide that the value is a secret."""
        if isinstance(dotenv_settings, DotEnvSettingsSource) and "mcp_servers" in dotenv_settings.env_vars:
            written = dotenv_values(ENV_FILE, interpolate=False, encoding=ENV_ENCODING)
            servers = {name.lower(): value for name, value in written.items()}["mcp_servers"]
            dotenv_settings.env_vars = {**dotenv_settings.env_vars, "mcp_servers": servers}
        read = (_Present(settings_cls, each) for each in (env_settings, dotenv_settings))
        return init_settings, *read, file_secret_settings


class _Present(PydanticBaseSettingsSource):
    """Variables of a source that are set; pydantic's own way looks at the type of every setting there is."""

    def __init__(self, settings_cls: type[BaseSettings], source: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        assert isinstance(source, EnvSettingsSource)
        self._source = source

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value = self._source.env_vars.get(field_name)
        return self._source.prepare_field_value(field_name, field, value, False), field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        present = [name for name in fields if self._source.env_vars.get(name) is not None]
        return {name: self.get_field_value(fields[name], name)[0] for name in present}


@dataclass(frozen=True, slots=True)
class UnknownName:
    """Variable that is not a setting; `suggestion` is the setting that it resembles, or an empty string."""

    name: str
    suggestion: str
    source: str

    @property
    def hint(self) -> str:
        """Return advice for the operator, as the end of a sentence."""
        return f"did you mean {self.suggestion}?" if self.suggestion else "it is ignored"


def check_env_file(path: Path = ENV_FILE) -> None:
    """Raise `ConfigError` with the numbers of unreadable lines.

    Such a line may be a piece of a secret, so it must not be quoted.
    """
    lines = [each.original.line for each in _bindings(path) if each.error or not _is_read(each)]
    if lines:
        raise ConfigError(
            [f"{path}, line {line}: this cannot be read; write NAME=value, or # before it" for line in lines]
        )


def unknown_names(model: type[BaseModel], path: Path = ENV_FILE) -> list[UnknownName]:
    """Return the variables that are not fields of `model`, the settings.

    In `.env` all of them, except variables that settings refer to; in the environment only those that
    resemble a missing setting.
    """
    settings = {name.upper() for name in model.model_fields}
    try:
        values = {each.key: each.value for each in _bindings(path) if each.key and _is_read(each)}
    except ConfigError:  # reported by `check_env_file`
        values = {}
    texts = (*values.values(), os.environ.get("MCP_SERVERS"))
    used = {name for text in texts for name in _REFERENCE.findall(text or "")}
    present = {name.upper() for name in (*values, *os.environ)}
    missing = sorted(settings - present)
    unknown = [name for name in {*values, *os.environ} - used if name.upper() not in settings]
    found = [
        UnknownName(name, _suggest(name, missing), str(path) if name in values else "environment")
        for name in sorted(unknown)
    ]
    return [each for each in found if each.suggestion or each.name in values]


def _suggest(name: str, settings: Sequence[str]) -> str:
    """Return the setting that `name` resembles, or an empty string."""
    upper = name.upper()[:_MOST_CHARS]
    plain = {setting.replace("_", ""): setting for setting in settings}
    if same := plain.get(upper.replace("_", "")):
        return same
    return next(iter(difflib.get_close_matches(upper, settings, 1, _SIMILARITY)), "")


def _is_read(line: Binding) -> bool:
    """Return True for `NAME=value`, a comment or an empty line."""
    return line.key is None or (line.value is not None and _NAME.fullmatch(line.key) is not None)


def _bindings(path: Path) -> Iterator[Binding]:
    try:
        text = path.read_text(encoding=ENV_ENCODING)
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError([f"{path}: this file cannot be read: {reason}"]) from None
    yield from parse_stream(io.StringIO(text))
