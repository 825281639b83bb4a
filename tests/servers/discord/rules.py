"""Discord's rules for request bodies, and its error responses."""

from collections.abc import Iterator, Sequence
from typing import NoReturn

from tests.servers.discord.records import (
    AUTO_ARCHIVE_MINUTES,
    FILE_LIMIT,
    Channel,
    Json,
    MessageFlag,
)

CONTENT_LIMIT = 2000
NONCE_LIMIT = 25
EMBED_LIMITS = {"title": 256, "description": 4096}
EMBEDS_TOTAL = 6000
V1_ROWS = 5
ROW_BUTTONS = 5
V2_COMPONENTS = 40
V2_TEXT = 4000
ACTION_ROW, BUTTON, TEXT_DISPLAY = 1, 2, 10
SELECTS = (3, 5, 6, 7, 8)


class Refusal(Exception):
    """Error response of the API.

    `blame` is true for requests that no correct client sends, and false if the state of the world forbids
    them (something is deleted, a permission is missing).
    """

    def __init__(
        self, status: int, code: int, message: str, *, errors: Json = None, blame: bool = False
    ) -> None:
        super().__init__(f"{status} {code} {message}" + (f" {errors}" if errors else ""))
        self.status = status
        self.body = {"message": message, "code": code} | ({"errors": errors} if errors else {})
        self.blame = blame


def form_error(path: str, code: str, message: str, *, blame: bool = True) -> Refusal:
    """Return error 50035 in Discord's nested form; `path` is dotted, like `embeds.0.title`."""
    errors: Json = {"_errors": [{"code": code, "message": message}]}
    for key in reversed(path.split(".")):
        errors = {key: errors}
    return Refusal(400, 50035, "Invalid Form Body", errors=errors, blame=blame)


def unknown(what: str, code: int) -> Refusal:
    return Refusal(404, code, f"Unknown {what}")


def need(channel: Channel, *permissions: str) -> None:
    """Raise `Refusal` if the bot lacks one of the permissions."""
    if not channel.permits("view_channel"):
        raise Refusal(403, 50001, "Missing Access")
    if not all(channel.permits(name) for name in permissions):
        raise Refusal(403, 50013, "Missing Permissions")


def snowflake(text: Json, path: str = "id") -> int:
    if not (isinstance(text, str | int) and str(text).isdecimal()):
        raise form_error(path, "NUMBER_TYPE_COERCE", f'Value "{text}" is not snowflake.')
    return int(text)


def length(value: Json, path: str, low: int, high: int) -> str:
    """Return `value` if it is a text of `low` to `high` characters. Raises `Refusal`."""
    if not isinstance(value, str):
        raise form_error(path, "BASE_TYPE_REQUIRED", "This field is required")
    if not low <= len(value) <= high:
        raise form_error(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")
    return value


def content(body: Json) -> str:
    text = body.get("content")
    if text is not None and not isinstance(text, str):
        raise form_error("content", "STRING_TYPE_CONVERT", "Could not interpret value as string.")
    if text and len(text) > CONTENT_LIMIT:
        raise form_error("content", "BASE_TYPE_MAX_LENGTH", f"Must be {CONTENT_LIMIT} or fewer in length.")
    return text or ""


def nonce(body: Json) -> str | int | None:
    value = body.get("nonce")
    if value is not None and not isinstance(value, str | int):
        raise form_error("nonce", "NONCE_TYPE_INVALID", "Nonces must be a string or an integer.")
    if isinstance(value, str) and len(value) > NONCE_LIMIT:
        raise form_error(
            "nonce", "NONCE_TYPE_TOO_LONG", f"Nonces must not be longer than {NONCE_LIMIT} characters."
        )
    return value


def allowed_mentions(body: Json) -> Json:
    rules = body.get("allowed_mentions")
    if rules is None:
        return None
    parse = rules.get("parse") or []
    for number, kind in enumerate(parse):
        if kind not in ("roles", "users", "everyone"):
            raise form_error(f"allowed_mentions.parse.{number}", "BASE_TYPE_CHOICES", f"Not a kind: {kind}")
    for kind in ("roles", "users"):
        named = rules.get(kind) or []
        if len(named) > 100:
            raise form_error(
                f"allowed_mentions.{kind}", "BASE_TYPE_BAD_LENGTH", "Must be 100 or fewer in length."
            )
        if named and kind in parse:
            raise form_error(
                "allowed_mentions",
                "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.',
            )
    return rules


def embeds(body: Json) -> list[Json]:
    given = body.get("embeds") or []
    if len(given) > 10:
        raise form_error("embeds", "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
    for number, embed in enumerate(given):
        _embed(embed, f"embeds.{number}")
    if sum(len(text) for embed in given for text in _texts(embed)) > EMBEDS_TOTAL:
        raise form_error(
            "embeds", "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {EMBEDS_TOTAL}"
        )
    return list(given)


def _embed(embed: Json, path: str) -> None:
    for key, limit in EMBED_LIMITS.items():
        length(embed.get(key) or "", f"{path}.{key}", 0, limit)
    length((embed.get("footer") or {}).get("text") or "", f"{path}.footer.text", 0, 2048)
    length((embed.get("author") or {}).get("name") or "", f"{path}.author.name", 0, 256)
    fields = embed.get("fields") or []
    if len(fields) > 25:
        raise form_error(f"{path}.fields", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    for number, each in enumerate(fields):
        length(each.get("name"), f"{path}.fields.{number}.name", 1, 256)
        length(each.get("value"), f"{path}.fields.{number}.value", 1, 1024)


def _texts(embed: Json) -> Iterator[str]:
    yield from (embed.get(key) or "" for key in EMBED_LIMITS)
    yield (embed.get("footer") or {}).get("text") or ""
    yield (embed.get("author") or {}).get("name") or ""
    for each in embed.get("fields") or []:
        yield from (each["name"], each["value"])


def components(body: Json) -> list[Json]:
    given = body.get("components") or []
    everything = list(walk(given))
    if is_v2(body):
        _v2(everything)
    elif len(given) > V1_ROWS or any(row.get("type") != ACTION_ROW for row in given):
        raise form_error("components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 action rows.")
    for row in everything:
        if row.get("type") == ACTION_ROW and not 1 <= len(row.get("components") or []) <= ROW_BUTTONS:
            raise form_error("components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
    _custom_ids(everything)
    return list(given)


def is_v2(body: Json) -> bool:
    return bool((body.get("flags") or 0) & MessageFlag.COMPONENTS_V2)


def no_legacy_fields(body: Json) -> None:
    """Raise `Refusal` for a body with fields that a message with the flag cannot have."""
    if any(body.get(key) for key in ("content", "embeds", "sticker_ids", "poll")):
        raise form_error(
            "content",
            "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
            "The 'content' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
        )


def _v2(everything: Sequence[Json]) -> None:
    if len(everything) > V2_COMPONENTS:
        raise form_error("components", "BASE_TYPE_MAX_LENGTH", "Must be 40 or fewer in length.")
    if sum(len(each.get("content") or "") for each in everything) > V2_TEXT:
        raise form_error(
            "components", "COMPONENT_MAX_TOTAL_TEXT_SIZE_EXCEEDED", "Text exceeds 4000 characters."
        )


def _custom_ids(everything: Sequence[Json]) -> None:
    seen: set[str] = set()
    for each in everything:
        if each.get("type") == BUTTON:
            length(each.get("label") or "", "components.label", 0, 80)
            if not (each.get("label") or each.get("emoji")):
                raise form_error(
                    "components", "BUTTON_COMPONENT_LABEL_OR_EMOJI", "A label or emoji is needed."
                )
        if each.get("type") == SELECTS[0]:
            select_options(each.get("options") or [])
        custom_id = each.get("custom_id")
        interactive = each.get("type") in SELECTS or (each.get("type") == BUTTON and not each.get("url"))
        if interactive:
            length(custom_id, "components.custom_id", 1, 100)
        if custom_id is None:
            continue
        if custom_id in seen:
            raise form_error(
                "components", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated"
            )
        seen.add(custom_id)


def select_options(options: Sequence[Json]) -> None:
    if not 1 <= len(options) <= 25:
        raise form_error("components.options", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 25 in length.")
    for each in options:
        length(each.get("label"), "components.options.label", 1, 100)
        length(each.get("value"), "components.options.value", 1, 100)
    if len({each["value"] for each in options}) < len(options):
        raise form_error(
            "components.options", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "Value is used twice"
        )


def walk(components: Sequence[Json]) -> Iterator[Json]:
    """Yield all components, including nested ones."""
    for each in components:
        yield each
        yield from walk(each.get("components") or [])
        yield from (each[key] for key in ("accessory", "component") if each.get(key))


def files(uploads: Sequence[bytes]) -> None:
    if len(uploads) > 10:
        raise form_error("attachments", "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
    if any(len(data) > FILE_LIMIT for data in uploads):
        raise Refusal(413, 40005, "Request entity too large", blame=True)


def thread_name(body: Json) -> str:
    name = length(body.get("name"), "name", 1, 100)
    if not name.strip():
        raise form_error("name", "BASE_TYPE_REQUIRED", "This field is required")
    minutes = body.get("auto_archive_duration")
    if minutes is not None and minutes not in AUTO_ARCHIVE_MINUTES:
        raise form_error(
            "auto_archive_duration", "BASE_TYPE_CHOICES", f"Value must be one of {AUTO_ARCHIVE_MINUTES}."
        )
    slow = body.get("rate_limit_per_user")
    if slow is not None and not 0 <= slow <= 21600:
        raise form_error(
            "rate_limit_per_user", "NUMBER_TYPE_MAX", "int value should be less than or equal to 21600."
        )
    return name.strip()


def empty_message(blame: bool = True) -> NoReturn:
    raise Refusal(400, 50006, "Cannot send an empty message", blame=blame)
