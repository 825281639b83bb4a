"""Application commands: their registration, and their use by a user."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum

from tests.servers.discord.api import Reply, Request, Route
from tests.servers.discord.layouts import Kind
from tests.servers.discord.records import Json, User
from tests.servers.discord.rules import (
    TEXT_DISPLAY,
    Refusal,
    form_error,
    length,
)

CHAT_INPUT = 1
NAME = re.compile(r"[-_'\w]{1,32}")
COMMAND_LIMIT = 100
COMMAND_CHARACTERS = 8000
GUILD, BOT_DM, PRIVATE_CHANNEL = 0, 1, 2


class OptionType(IntEnum):
    SUB_COMMAND = 1
    SUB_COMMAND_GROUP = 2
    STRING = 3
    INTEGER = 4
    BOOLEAN = 5
    USER = 6
    CHANNEL = 7
    ROLE = 8
    MENTIONABLE = 9
    NUMBER = 10
    ATTACHMENT = 11


GROUPS = (OptionType.SUB_COMMAND, OptionType.SUB_COMMAND_GROUP)
Scope = int | None
"""Id of a guild, or None for global commands."""


class Commands:
    """Registered commands of the application."""

    def __init__(self, new_id: Callable[[], int], application: int, guilds: Mapping[int, Json]) -> None:
        self._new_id = new_id
        self._application = application
        self._guilds = guilds
        self._scopes: dict[Scope, list[Json]] = {}

    def routes(self) -> list[Route]:
        everywhere = "/applications/{application}/commands"
        in_guild = "/applications/{application}/guilds/{guild}/commands"
        return [
            Route(method, path, handler)
            for path in (everywhere, in_guild)
            for method, handler in (("GET", self._list), ("PUT", self._replace), ("POST", self._create))
        ]

    def find(self, name: str, guild: int | None) -> Json | None:
        """Return the command that a user sees in this guild (None: in a direct message)."""
        scopes: list[Scope] = [None] if guild is None else [guild, None]
        everything = (each for scope in scopes for each in self._scopes.get(scope, ()))
        return next((each for each in everything if each["name"] == name), None)

    async def _list(self, request: Request) -> Reply:
        return Reply(self._scopes.get(self._scope(request), []))

    async def _replace(self, request: Request) -> Reply:
        scope, commands = self._scope(request), request.body
        check_commands(commands)
        self._scopes[scope] = [self._registered(scope, each) for each in commands]
        return Reply(self._scopes[scope])

    async def _create(self, request: Request) -> Reply:
        scope = self._scope(request)
        others = [each for each in self._scopes.get(scope, []) if each["name"] != request.body.get("name")]
        check_commands([*others, request.body])
        command = self._registered(scope, request.body)
        self._scopes[scope] = [*others, command]
        return Reply(command, status=201)

    def _scope(self, request: Request) -> Scope:
        if request.id("application") != self._application:
            raise Refusal(403, 20012, "You are not authorized to perform this action", blame=True)
        guild = request.id("guild") if "guild" in request.path else None
        if guild is not None and guild not in self._guilds:
            raise Refusal(403, 50001, "Missing Access", blame=True)
        return guild

    def _registered(self, scope: Scope, command: Json) -> Json:
        earlier = [each for each in self._scopes.get(scope, []) if each["name"] == command["name"]]
        identity = {
            "id": earlier[0]["id"] if earlier else str(self._new_id()),
            "application_id": str(self._application),
            "version": str(self._new_id()),
            "type": CHAT_INPUT,
            "default_member_permissions": None,
            "nsfw": False,
        }
        return identity | command | ({} if scope is None else {"guild_id": str(scope)})


def check_commands(commands: Json) -> None:
    """Check commands against https://discord.com/developers/docs/interactions/application-commands."""
    if not isinstance(commands, list):
        raise form_error("_errors", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if len(commands) > COMMAND_LIMIT:
        raise Refusal(400, 30032, "Maximum number of application commands reached (100)", blame=True)
    seen: set[tuple[int, str]] = set()
    for number, command in enumerate(commands):
        kind = command.get("type", CHAT_INPUT)
        _check_names(command, str(number), described=kind == CHAT_INPUT)
        _check_options(command.get("options") or [], str(number))
        if sum(map(len, _texts(command))) > COMMAND_CHARACTERS:
            raise form_error(
                str(number), "APPLICATION_COMMAND_TOO_LARGE", "Command exceeds maximum size (8000)"
            )
        if (kind, command["name"]) in seen:
            raise form_error(
                str(number), "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique"
            )
        seen.add((kind, command["name"]))


def _check_names(item: Json, path: str, *, described: bool = True) -> None:
    name = length(item.get("name"), f"{path}.name", 1, 32)
    if described:
        length(item.get("description"), f"{path}.description", 1, 100)
        if not NAME.fullmatch(name) or name != name.lower():
            raise form_error(f"{path}.name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def _check_options(options: Sequence[Json], path: str) -> None:
    if len(options) > 25:
        raise form_error(f"{path}.options", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    if len({option.get("name") for option in options}) < len(options):
        raise form_error(
            f"{path}.options", "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name already exists"
        )
    optional_seen = False
    for number, option in enumerate(options):
        here = f"{path}.options.{number}"
        _check_names(option, here)
        if option.get("type") not in set(OptionType):
            raise form_error(f"{here}.type", "BASE_TYPE_CHOICES", "Value must be one of 1 to 11.")
        _check_choices(option, here)
        _check_options(option.get("options") or [], here)
        if option.get("required") and optional_seen:
            raise form_error(
                here,
                "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                "Required options must be placed before non-required options",
            )
        optional_seen = optional_seen or not option.get("required")


def _check_choices(option: Json, path: str) -> None:
    choices = option.get("choices") or []
    if len(choices) > 25:
        raise form_error(f"{path}.choices", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    if choices and option.get("autocomplete"):
        raise form_error(f"{path}.autocomplete", "APPLICATION_COMMAND_AUTOCOMPLETE", "Has choices.")
    for number, choice in enumerate(choices):
        length(choice.get("name"), f"{path}.choices.{number}.name", 1, 100)


def _texts(item: Json) -> Iterator[str]:
    yield from (item.get("name") or "", item.get("description") or "")
    for choice in item.get("choices") or []:
        yield from (choice["name"], str(choice["value"]))
    for option in item.get("options") or []:
        yield from _texts(option)


class NotOffered(AssertionError):
    """Action that the client would not offer or not submit."""


def fill_in(command: Json, path: Sequence[str], values: Mapping[str, Json], focused: str = "") -> list[Json]:
    """Return the options as the client sends them; `path` names subcommands, `focused` is being typed.

    Raises `NotOffered` for undeclared options, or if a required option is missing.
    """
    if path:
        inner = next((each for each in command.get("options") or [] if each["name"] == path[0]), None)
        if inner is None or inner["type"] not in GROUPS:
            raise NotOffered(f"/{command['name']} has no subcommand {path[0]}")
        options = fill_in(inner, path[1:], values, focused)
        return [{"name": path[0], "type": inner["type"], "options": options}]
    declared = {each["name"]: each for each in command.get("options") or []}
    if any(each["type"] in GROUPS for each in declared.values()):
        raise NotOffered(f"/{command['name']} needs a subcommand: {', '.join(declared)}")
    if values.keys() - declared.keys():
        raise NotOffered(f"/{command['name']} has no options {values.keys() - declared.keys()}")
    missing = {name for name, each in declared.items() if each.get("required")} - values.keys()
    if missing and not focused:
        raise NotOffered(f"/{command['name']} needs {missing}")
    return [_option(declared[name], value, focused) for name, value in values.items()]


def _option(declared: Json, value: Json, focused: str) -> Json:
    option = {"name": declared["name"], "type": declared["type"], "value": _value(value)}
    if declared["name"] == focused:
        return option | {"focused": True}
    if not _acceptable(declared, value):
        raise NotOffered(f"{value!r} is no value for {declared['name']}")
    return option


def _value(value: Json) -> Json:
    return value if isinstance(value, str | int | float) else str(value.id)


def _acceptable(declared: Json, value: Json) -> bool:
    choices = [choice["value"] for choice in declared.get("choices") or []]
    if choices and value not in choices:
        return False
    match declared["type"]:
        case OptionType.STRING:
            low, high = declared.get("min_length", 0), declared.get("max_length", 6000)
            return isinstance(value, str) and low <= len(value) <= high
        case OptionType.INTEGER | OptionType.NUMBER:
            low, high = declared.get("min_value", -(2**53)), declared.get("max_value", 2**53)
            return isinstance(value, int | float) and low <= value <= high
        case OptionType.BOOLEAN:
            return isinstance(value, bool)
        case OptionType.USER:
            return isinstance(value, User)
        case _:
            return True


def check_offered(command: Json, user: User, *, in_guild: bool) -> None:
    """Raise `NotOffered` if the client would not show the command to this user."""
    contexts = command.get("contexts") or (GUILD, BOT_DM)
    if (GUILD if in_guild else BOT_DM) not in contexts:
        raise NotOffered(f"/{command['name']} is not offered here: contexts {contexts}")
    restricted = command.get("default_member_permissions") not in (None, "0")
    if in_guild and restricted and not user.administrator:
        raise NotOffered(f"/{command['name']} is not offered to {user.name}")


def fill_in_row(row: Json, values: Mapping[str, str | Sequence[str]]) -> Json:
    """Return a row of a form with the typed values."""
    if row["type"] == TEXT_DISPLAY:
        return {"type": TEXT_DISPLAY, "id": row.get("id", 0)}
    inputs = row.get("components") or [row["component"]]
    typed = [_filled(each, values) for each in inputs]
    if "component" in row:
        return {"type": row["type"], "id": 1, "component": typed[0]}
    return {"type": row["type"], "id": 1, "components": typed}


def _filled(field: Json, values: Mapping[str, str | Sequence[str]]) -> Json:
    """Return a field with what was typed or chosen. Raises `NotOffered` if the client would not take it."""
    filled = {"type": field["type"], "id": 1, "custom_id": field["custom_id"]}
    given = values.get(field["custom_id"])
    if "options" not in field:
        return filled | {"value": _typed(field, given if isinstance(given, str) else None)}
    chosen = [given] if isinstance(given, str) else list(given or ())
    known = {each["value"] for each in field["options"]}
    if not known.issuperset(chosen) or (field.get("required", True) and not chosen):
        raise NotOffered(f"{field['custom_id']} takes some of {known}: {chosen}")
    if field["type"] == Kind.RADIO_GROUP:
        return filled | {"value": next(iter(chosen), None)}
    return filled | {"values": chosen}


def _typed(text_input: Json, given: str | None) -> str:
    """Return the value of an input. Raises `NotOffered` if its length is wrong, as the client checks it."""
    text = (text_input.get("value") or "") if given is None else given
    if not text and not text_input.get("required", True):
        return ""
    low, high = text_input.get("min_length") or 1, text_input.get("max_length") or 4_000
    if not low <= len(text) <= high:
        raise NotOffered(f"{text_input['custom_id']} takes {low} to {high} characters: {len(text)}")
    return text
