"""Plug-in settings: MCP_SERVERS and TOOL_PLUGINS with the policy of each plug-in."""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from dotenv import dotenv_values
from pydantic import SecretStr

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]|_(?!_)){0,23}(?<!_)")
_NAME_FORM = "use 1 to 24 of a-z, 0-9, - and _, without __ and without _ at either end"
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")

_Read = TypeVar("_Read")

_LONGEST_SECONDS = 300.0
_SHORTEST_SECRET = 8
"""Shortest value that is hidden in logs: shorter ones (a log level, `true`) occur in normal text."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Permissions of a plug-in: shell patterns for the tools that it may offer, and for those that need
    approval.

    `timeout` is in seconds, for one call.
    """

    allow: tuple[str, ...] = ("*",)
    timeout: float = 30.0
    approval: tuple[str, ...] = ()

    def allows(self, tool: str) -> bool:
        """Return True if this tool is offered to the model."""
        return any(fnmatchcase(tool, each) for each in self.allow)

    def needs_approval(self, tool: str) -> bool:
        """Return True if each call of this tool needs an approval."""
        return any(fnmatchcase(tool, each) for each in self.approval)


@dataclass(frozen=True, slots=True)
class McpServer:
    """MCP server: either a command to start, or an address with streamable HTTP.

    `secrets` are values that logs must hide; fields that may contain one stay out of its `repr`.
    """

    policy: Policy
    command: str = ""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """Plug-ins by name, and a sentence for each problem to fix, without values."""

    servers: Mapping[str, McpServer]
    entry_points: Mapping[str, Policy]
    problems: Sequence[str]

    @property
    def secrets(self) -> list[str]:
        """Return the values that logs must hide."""
        return sorted(secret for server in self.servers.values() for secret in server.secrets)


def plugin_settings(servers: SecretStr | None, entry_points: str, *, has_approvers: bool) -> PluginSettings:
    """Parse both settings; `${NAME}` in a server's values refers to an environment variable."""
    problems: list[str] = []
    # a token may be in .env, which does not change the environment
    environ = {**dotenv_values(".env", encoding="utf-8-sig"), **os.environ}
    found: dict[str, dict[str, Any]] = {"MCP_SERVERS": {}, "TOOL_PLUGINS": {}}
    for setting, read in (
        ("MCP_SERVERS", lambda: mcp_servers(servers.get_secret_value() if servers else "{}", environ)),
        ("TOOL_PLUGINS", lambda: tool_plugins(entry_points)),
    ):
        try:
            found[setting] = read()
        except Problems as error:
            problems += [f"{setting}: {each}" for each in error.sentences]
    by_name, by_entry_point = found.values()
    problems += [
        f"TOOL_PLUGINS: {name} is the name of an MCP server, too; rename one"
        for name in sorted(by_name.keys() & by_entry_point.keys())
    ]
    asking = [("MCP_SERVERS", name) for name, each in by_name.items() if each.policy.approval]
    asking += [("TOOL_PLUGINS", name) for name, each in by_entry_point.items() if each.approval]
    if not has_approvers:
        problems += [_NOBODY.format(setting=setting, name=name) for setting, name in asking]
    return PluginSettings(by_name, by_entry_point, problems)


_NOBODY = (
    "{setting}: calls of {name} wait for approval: also set APPROVERS or ADMIN_USERS, or its "
    '"approval" to false (or to a list of tools) if they can run without'
)


class Problems(ValueError):
    """Invalid setting; `sentences` has one for each problem to fix, without values."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def mcp_servers(text: str, environ: Mapping[str, str | None]) -> dict[str, McpServer]:
    """Parse the servers in the JSON object `text`, by name. Raises `Problems`."""
    return _each(_json_object(text), lambda given: _mcp_server(given, environ))


def tool_plugins(text: str) -> dict[str, Policy]:
    """Parse the entry points in `text`, a comma-separated list or a JSON object. Raises `Problems`."""
    if text.lstrip().startswith("{"):
        return _each(_json_object(text), lambda given: _policy(given, asks=False))
    names = re.findall(r"[^,\s]+", text)
    return _each({name: {} for name in names}, lambda given: _policy(given, asks=False))


def _each(plugins: Mapping[str, Any], read: "Callable[[_Values], _Read]") -> dict[str, _Read]:
    found: dict[str, _Read] = {}
    problems: list[str] = []
    for name, value in plugins.items():
        if not _NAME.fullmatch(name):
            problems.append(f"{name[:40]!r} is not a valid name for a plug-in: {_NAME_FORM}")
            continue
        if not isinstance(value, dict):
            problems.append(f"{name}: write an object in braces, for example {{}}")
            continue
        read_from = _Values(value)
        found[name] = read(read_from)
        problems += [f"{name}: {each}" for each in read_from.all_problems()]
    if problems:
        raise Problems(problems)
    return found


def _json_object(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text, object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:  # its `doc` holds the text; its `msg` does not
        raise Problems(
            [f"is not valid JSON ({error.msg}, line {error.lineno}, column {error.colno})"]
        ) from None
    except RecursionError:
        raise Problems(["is nested too deeply"]) from None
    if not isinstance(given, dict):
        raise Problems(["must be a JSON object that gives each plug-in a name"])
    return given


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = Counter(name for name, _ in pairs)
    if twice := next((name for name, times in seen.items() if times > 1), None):
        raise Problems([f"names {twice[:40]!r} twice"])
    return dict(pairs)


class _Values:
    """Values of one plug-in, taken one by one; invalid and unknown ones become problems."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._rest = dict(values)
        self.problems: list[str] = []

    def has(self, key: str) -> bool:
        return key in self._rest

    def pop(self, key: str, kind: type | tuple[type, ...], default: Any, form: str) -> Any:
        value = self._rest.pop(key, default)
        if isinstance(value, kind):
            return value
        self.problems.append(f"{key} must be {form}")
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of strings."""
        value = self.pop(key, list, [], "a list of strings")
        if not all(isinstance(each, str) for each in value):
            self.problems.append(f"{key} must be a list of strings")
            return ()
        return tuple(value)

    def texts_by_name(self, key: str) -> dict[str, str]:
        """Take an object with strings as values."""
        value = self.pop(key, dict, {}, "an object of strings")
        if not all(isinstance(each, str) for each in value.values()):
            self.problems.append(f"{key} must be an object of strings")
            return {}
        return dict(value)

    def all_problems(self) -> list[str]:
        unknown = [f"{key[:40]!r} is unknown" for key in self._rest]
        return [*self.problems, *unknown]


def _policy(entry: _Values, *, asks: bool) -> Policy:
    allow = entry.texts("allow") if entry.has("allow") else ("*",)
    timeout = entry.pop("timeout", (int, float), 30, "a number of seconds")
    if isinstance(timeout, bool) or not (math.isfinite(timeout) and 0 < timeout <= _LONGEST_SECONDS):
        entry.problems.append(f"timeout must be between 0 and {_LONGEST_SECONDS:.0f} seconds")
    return Policy(allow=allow, timeout=float(timeout), approval=_approval(entry, asks))


def _approval(entry: _Values, default: bool) -> tuple[str, ...]:
    value = entry.pop("approval", (bool, list), default, "true, false or a list of tools")
    if isinstance(value, bool):
        return ("*",) if value else ()
    if not all(isinstance(each, str) for each in value):
        entry.problems.append("approval must be true, false or a list of tools")
        return ("*",)
    return tuple(value)


def _mcp_server(entry: _Values, environ: Mapping[str, str | None]) -> McpServer:
    expansion = _Expansion(environ)
    command = entry.pop("command", str, "", "a string")
    url = entry.pop("url", str, "", "a string")
    if bool(command) == bool(url):
        entry.problems.append("set either command or url")
    elif strange := [key for key in (("headers",) if command else ("args", "env")) if entry.has(key)]:
        entry.problems.append(f"{strange[0]} does not go with {'command' if command else 'url'}")
    url = expansion.expand(url)
    if url and not _is_http(url):
        entry.problems.append("url must begin with https:// or http://")
    server = McpServer(
        policy=_policy(entry, asks=True),
        command=command,
        args=tuple(expansion.expand(each) for each in entry.texts("args")),
        env={name: expansion.expand(each) for name, each in entry.texts_by_name("env").items()},
        url=url,
        headers={name: expansion.expand(each) for name, each in entry.texts_by_name("headers").items()},
    )
    if any("\n" in each or "\r" in each for pair in server.headers.items() for each in pair):
        entry.problems.append("headers may not hold line breaks")
    entry.problems += [f"the environment has no {name}" for name in sorted(expansion.missing)]
    secrets = expansion.secrets | _secrets_in(server)
    return McpServer(
        server.policy, server.command, server.args, server.env, server.url, server.headers, frozenset(secrets)
    )


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


class _Expansion:
    """Replacement of `${NAME}` in values, which collects the used values and the missing names."""

    def __init__(self, environ: Mapping[str, str | None]) -> None:
        self._environ = environ
        self.missing: set[str] = set()
        self.secrets: set[str] = set()

    def expand(self, value: str) -> str:
        return _REFERENCE.sub(self._value, value)

    def _value(self, match: re.Match[str]) -> str:
        value = self._environ.get(match[1])
        if value is None:
            self.missing.add(match[1][:60])
            return ""
        self.secrets.add(value)
        return value


def _secrets_in(server: McpServer) -> set[str]:
    """Return each value that may be secret, and its words: a header is `Bearer` and the token."""
    values = [*server.env.values(), *server.headers.values()]
    if _is_http(server.url):
        parts = urlsplit(server.url)
        values += [parts.password or "", *(value for _, value in parse_qsl(parts.query))]
    words = {word for value in values for word in (value, *value.split())}
    return {word for word in words if len(word) >= _SHORTEST_SECRET}
