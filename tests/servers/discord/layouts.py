"""Discord's rules for components v2 and for forms, from its OpenAPI description.

https://docs.discord.com/developers/components/reference
"""

from collections.abc import Sequence
from enum import IntEnum

from tests.servers.discord import rules as rules
from tests.servers.discord.records import Json


class Kind(IntEnum):
    ACTION_ROW = 1
    BUTTON = 2
    STRING_SELECT = 3
    TEXT_INPUT = 4
    USER_SELECT = 5
    ROLE_SELECT = 6
    MENTIONABLE_SELECT = 7
    CHANNEL_SELECT = 8
    SECTION = 9
    TEXT_DISPLAY = 10
    THUMBNAIL = 11
    MEDIA_GALLERY = 12
    FILE = 13
    SEPARATOR = 14
    CONTAINER = 17
    LABEL = 18
    FILE_UPLOAD = 19
    RADIO_GROUP = 21
    CHECKBOX_GROUP = 22
    CHECKBOX = 23


SELECTS = frozenset(
    {
        Kind.STRING_SELECT,
        Kind.USER_SELECT,
        Kind.ROLE_SELECT,
        Kind.MENTIONABLE_SELECT,
        Kind.CHANNEL_SELECT,
    }
)
IN_CONTAINER = frozenset(
    {
        Kind.ACTION_ROW,
        Kind.FILE,
        Kind.MEDIA_GALLERY,
        Kind.SECTION,
        Kind.SEPARATOR,
        Kind.TEXT_DISPLAY,
    }
)
IN_MESSAGE = IN_CONTAINER | {Kind.CONTAINER}
IN_LABEL = SELECTS | {
    Kind.TEXT_INPUT,
    Kind.FILE_UPLOAD,
    Kind.RADIO_GROUP,
    Kind.CHECKBOX_GROUP,
    Kind.CHECKBOX,
}
IN_FORM = frozenset({Kind.ACTION_ROW, Kind.LABEL, Kind.TEXT_DISPLAY})
MOST_IN_FORM = 5


def check_message(components: Sequence[Json], path: str = "components") -> None:
    """Raise `Refusal` for components that a message with the flag cannot have."""
    _check_each(components, IN_MESSAGE, path)


def check_form(components: Sequence[Json]) -> None:
    """Raise `Refusal` for components that a form cannot have."""
    path = "data.components"
    _require(1 <= len(components) <= MOST_IN_FORM, path, "Must be between 1 and 5 in length.")
    _check_each(components, IN_FORM, path)
    rows = [each for each in components if each["type"] == Kind.ACTION_ROW]
    inner = [each for row in rows for each in row["components"]]
    _check_each(inner, SELECTS | {Kind.TEXT_INPUT}, path)
    names = [each["custom_id"] for each in rules.walk(components) if "custom_id" in each]
    _require(len(set(names)) == len(names), path, "Component custom id cannot be duplicated")


def _check_each(components: Sequence[Json], allowed: frozenset[Kind], path: str) -> None:
    for number, each in enumerate(components):
        here = f"{path}.{number}"
        kinds = sorted(allowed)
        _require(each.get("type") in allowed, f"{here}.type", f"Value of field must be one of {kinds}.")
        _check(each, here)


def _check(component: Json, path: str) -> None:
    inner = component.get("components") or []
    match component["type"]:
        case Kind.CONTAINER:
            colour = component.get("accent_color")
            _require(colour is None or 0 <= colour <= 0xFFFFFF, f"{path}.accent_color", "Not a colour.")
            _require(bool(inner), f"{path}.components", "This field is required")
            _check_each(inner, IN_CONTAINER, f"{path}.components")
        case Kind.SECTION:
            _require(1 <= len(inner) <= 3, f"{path}.components", "Must be between 1 and 3 in length.")
            _check_each(inner, frozenset({Kind.TEXT_DISPLAY}), f"{path}.components")
            accessory = frozenset({Kind.BUTTON, Kind.THUMBNAIL})
            _check_each([component.get("accessory") or {}], accessory, f"{path}.accessory")
        case Kind.ACTION_ROW:
            _check_row(inner, path)
        case Kind.TEXT_DISPLAY:
            rules.length(component.get("content"), f"{path}.content", 1, rules.V2_TEXT)
        case Kind.SEPARATOR:
            _require(component.get("spacing") in (None, 1, 2), f"{path}.spacing", "Must be 1 or 2.")
        case Kind.MEDIA_GALLERY:
            items = component.get("items") or []
            _require(1 <= len(items) <= 10, f"{path}.items", "Must be between 1 and 10 in length.")
            for each in items:
                rules.length(each.get("description") or "", f"{path}.items.description", 0, 1024)
                rules.length(each.get("media", {}).get("url"), f"{path}.items.media.url", 1, 2048)
        case Kind.FILE:
            url = component.get("file", {}).get("url") or ""
            _require(url.startswith("attachment://"), f"{path}.file.url", "Must be an attachment.")
        case Kind.LABEL:
            _check_label(component, path)


def _check_row(inner: Sequence[Json], path: str) -> None:
    kinds = {each.get("type") for each in inner}
    is_alone = len(inner) == 1 and kinds <= SELECTS | {Kind.TEXT_INPUT}
    _require(is_alone or kinds == {Kind.BUTTON}, f"{path}.components", "Buttons, or one other component.")


def _check_label(label: Json, path: str) -> None:
    rules.length(label.get("label"), f"{path}.label", 1, 45)
    if label.get("description") is not None:
        rules.length(label["description"], f"{path}.description", 1, 100)
    component = label.get("component") or {}
    _check_each([component], IN_LABEL, f"{path}.component")
    rules.length(component.get("custom_id"), f"{path}.component.custom_id", 1, 100)
    options = component.get("options") or []
    match component["type"]:
        case Kind.TEXT_INPUT:
            _require(component.get("style") in (1, 2), f"{path}.component.style", "Must be 1 or 2.")
            _require(not component.get("label"), f"{path}.component.label", "The label is in its parent.")
            rules.length(component.get("value") or "", f"{path}.component.value", 0, 4_000)
            most = component.get("max_length") or 4_000
            _require(1 <= most <= 4_000, f"{path}.component.max_length", "Must be between 1 and 4000.")
        case Kind.STRING_SELECT:
            rules.select_options(options)
        case Kind.RADIO_GROUP:
            _check_group(options, 2, f"{path}.component.options")
        case Kind.CHECKBOX_GROUP:
            _check_group(options, 1, f"{path}.component.options")


def _check_group(options: Sequence[Json], least: int, path: str) -> None:
    _require(least <= len(options) <= 10, path, f"Must be between {least} and 10 in length.")
    for each in options:
        rules.length(each.get("label"), f"{path}.label", 1, 100)
        rules.length(each.get("value"), f"{path}.value", 1, 100)
        rules.length(each.get("description") or "", f"{path}.description", 0, 100)
    _require(len({each["value"] for each in options}) == len(options), path, "Value is used twice")
    _require(sum(bool(each.get("default")) for each in options) <= 1 or least == 1, path, "One default.")


def _require(is_fine: bool, path: str, message: str) -> None:
    if not is_fine:
        raise rules.form_error(path, "BASE_TYPE_BAD_LENGTH", message)


def check_attachments(components: Sequence[Json], names: frozenset[str]) -> None:
    """Raise `Refusal` if a component shows a file that the message does not have."""
    for each in rules.walk(components):
        media = [each.get("file"), *(item.get("media") for item in each.get("items") or ())]
        for url in (one.get("url") or "" for one in media if one):
            name = url.removeprefix("attachment://")
            _require(name == url or name in names, "components.file.url", f"There is no attachment {name}.")


def shown_text(components: Sequence[Json]) -> str:
    """Return the text of a message with the flag, as its users read it."""
    return "\n".join(
        each["content"] for each in rules.walk(components) if each.get("type") == Kind.TEXT_DISPLAY
    )
