"""Views: modals with their submissions and the app's answers, and the Home tab.

https://docs.slack.dev/surfaces/modals and https://docs.slack.dev/reference/views/modal-views
"""

import json
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.servers.slack.methods import Args, method
from tests.servers.slack.payloads import installed_by
from tests.servers.slack.rules import MOST_OPTIONS, Refused, check_blocks, require
from tests.servers.slack.workspace import (
    APP,
    BOT,
    Workspace,
)

Json = Any

MAX_INPUT = 3_000
MAX_METADATA = 3_000
MAX_BLOCKS = 100
MAX_TITLE = 24
MAX_STACK = 3
MAX_VIEW = 250_000


@dataclass(slots=True, eq=False)
class Modal:
    """Open form; `errors` are those of the last submission."""

    user: str
    view: dict[str, Json]
    is_open: bool = True
    errors: Mapping[str, str] | None = None


@method("views.open", required="view trigger_id", per_minute=100)
def views_open(workspace: Workspace, args: Args) -> dict[str, Json]:
    check_view(args["view"])
    user = _exchanged(workspace, args["trigger_id"])
    view = _published(workspace, args["view"])
    workspace.modals.append(Modal(user, view))
    return {"view": view}


@method("views.push", required="view trigger_id", per_minute=100)
def views_push(workspace: Workspace, args: Args) -> dict[str, Json]:
    """Open a form above the one that is open; there are at most three."""
    check_view(args["view"])
    user = _exchanged(workspace, args["trigger_id"])
    stack = [each for each in workspace.modals if each.user == user and each.is_open]
    require(stack, "not_found", "no form is open")
    require(len(stack) < MAX_STACK, "push_limit_reached", f"over {MAX_STACK} forms")
    view = _published(workspace, args["view"])
    workspace.modals.append(Modal(user, view))
    return {"view": view}


@method("views.update", required="view", optional="view_id external_id hash", per_minute=100)
def views_update(workspace: Workspace, args: Args) -> dict[str, Json]:
    """Replace an open form; with a `hash` only the view that has it."""
    wanted = {name: args[name] for name in ("view_id", "external_id") if name in args}
    require(len(wanted) == 1, "invalid_arguments", "either view_id or external_id")
    check_view(args["view"])
    id = next(iter(wanted.values()))
    name = "id" if "view_id" in wanted else "external_id"
    found = [each for each in workspace.modals if each.is_open and each.view.get(name) == id]
    require(found, "not_found", id)
    modal = found[-1]
    if "hash" in args and modal.view["hash"] != args["hash"]:
        raise Refused("hash_conflict", provoked=True)
    modal.view = _published(workspace, args["view"]) | {"id": modal.view["id"]}
    return {"view": modal.view}


@method("views.publish", required="user_id view", optional="hash", per_minute=100)
def views_publish(workspace: Workspace, args: Args) -> dict[str, Json]:
    """Replace the Home tab of a user; with a `hash` only the view that has it."""
    user, shown = args["user_id"], workspace.homes.get(args["user_id"])
    require(workspace.has_home_tab, "not_enabled", "the manifest has no home tab")
    require(user in workspace.users, "invalid_arguments", f"user_id {user}")
    check_home(args["view"])
    if "hash" in args and (shown is None or shown["hash"] != args["hash"]):
        raise Refused("hash_conflict", provoked=True)
    workspace.homes[user] = _published(workspace, args["view"])
    workspace.home_history.append((user, workspace.homes[user]))
    return {"view": workspace.homes[user]}


def check_home(view: Json) -> None:
    """Check a Home tab against Slack's rules."""
    require(isinstance(view, dict) and view.get("type") == "home", "invalid_arguments", "no home tab")
    known = {"type", "blocks", "private_metadata", "callback_id", "external_id"}
    require(view.keys() <= known, "invalid_arguments", f"a home tab has no {view.keys() - known}")
    metadata = view.get("private_metadata", "")
    require(len(metadata) <= MAX_METADATA, "invalid_arguments", f"private_metadata over {MAX_METADATA}")
    _check_blocks(view.get("blocks"))
    require(len(json.dumps(view)) <= MAX_VIEW, "view_too_large", f"over {MAX_VIEW} bytes")
    for block in view["blocks"]:
        for each in [*block.get("elements", []), block.get("accessory", {})]:
            _check_confirm(each.get("confirm"))


def _check_blocks(blocks: Json) -> None:
    """Check blocks as those of a message, for which views have another error."""
    try:
        check_blocks(blocks, most=MAX_BLOCKS, most_characters=math.inf)
    except Refused as refusal:
        raise Refused("invalid_arguments", refusal.detail) from refusal


def _check_confirm(confirm: Json) -> None:
    """Check https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object."""
    if confirm is None:
        return
    for name, most in {"title": 100, "text": 300, "confirm": 30, "deny": 30}.items():
        _check_plain(confirm.get(name), most, f"confirm.{name}")
    require(confirm.get("style", "primary") in ("primary", "danger"), "invalid_arguments", "confirm.style")


def _published(workspace: Workspace, view: Json) -> dict[str, Json]:
    return {
        **view,
        "id": workspace.new_id("V"),
        "team_id": workspace.team,
        "app_id": APP,
        "bot_id": BOT,
        "hash": f"{time.time():.0f}.{secrets.token_hex(4)}",
        "state": {"values": {}},
        "private_metadata": view.get("private_metadata", ""),
    }


def _exchanged(workspace: Workspace, trigger: str) -> str:
    """Return the user of a trigger, which opens one view within three seconds."""
    require(trigger in workspace.triggers, "invalid_trigger_id", trigger)
    user, issued_at = workspace.triggers[trigger]
    require(user, "exchanged_trigger_id", trigger)
    workspace.triggers[trigger] = ("", issued_at)
    if time.monotonic() - issued_at > workspace.trigger_lifetime:
        raise Refused("expired_trigger_id", trigger)
    return user


def check_view(view: Json) -> None:
    """Check a modal with inputs against Slack's rules."""
    require(isinstance(view, dict) and view.get("type") == "modal", "invalid_arguments", "no modal")
    _check_plain(view.get("title"), MAX_TITLE, "title")
    for name in ("submit", "close"):
        if name in view:
            _check_plain(view[name], MAX_TITLE, name)
    require(len(view.get("callback_id", "")) <= 255, "invalid_arguments", "callback_id over 255")
    metadata = view.get("private_metadata", "")
    require(len(metadata) <= MAX_METADATA, "invalid_arguments", f"private_metadata over {MAX_METADATA}")
    blocks = view.get("blocks")
    fits = isinstance(blocks, list) and 1 <= len(blocks) <= MAX_BLOCKS
    require(fits, "invalid_arguments", f"1 to {MAX_BLOCKS} blocks")
    inputs = [block for block in blocks if block.get("type") == "input"]
    require(not inputs or "submit" in view, "invalid_arguments", "must define submit to use input block")
    for block in inputs:
        _check_input(block)
    _check_blocks(blocks)
    require(len(json.dumps(view)) <= MAX_VIEW, "view_too_large", f"over {MAX_VIEW} bytes")


def _check_plain(text: Json, most: int, where: str) -> None:
    well_formed = isinstance(text, dict) and text.get("type") == "plain_text"
    require(well_formed and 1 <= len(text["text"]) <= most, "invalid_arguments", f"{where}: {text!r}")


def _check_input(block: dict[str, Json]) -> None:
    _check_plain(block.get("label"), 2_000, "label")
    element = block.get("element", {})
    kind = element.get("type")
    known = kind in (*MOST_OPTIONS, "plain_text_input", "file_input")
    require(known, "invalid_arguments", f"element {element!r}")
    if kind == "file_input":
        require(1 <= element.get("max_files", 10) <= 10, "invalid_arguments", "max_files")
        return
    if kind in MOST_OPTIONS:
        _check_blocks([{"type": "actions", "elements": [element]}])
        return
    most = element.get("max_length", MAX_INPUT)
    require(1 <= most <= MAX_INPUT, "invalid_arguments", f"max_length {most}")
    require(len(element.get("initial_value", "")) <= most, "invalid_arguments", "initial_value too long")


def fill_in(workspace: Workspace, modal: Modal, typed: Mapping[str, str]) -> dict[str, Json]:
    """Return the inputs' values by block and action: the typed ones, else the initial ones.

    Of an option that is its value, and of files their ids, with commas between them.
    Raises `LookupError` for values that the client would not accept.
    """
    inputs = {block["block_id"]: block for block in modal.view["blocks"] if block["type"] == "input"}
    if typed.keys() - inputs.keys():
        raise LookupError(f"the form has no inputs {typed.keys() - inputs.keys()}")
    return {id: _state(workspace, block, typed.get(id)) for id, block in inputs.items()}


def _state(workspace: Workspace, block: dict[str, Json], typed: str | None) -> dict[str, Json]:
    element = block["element"]
    if element["type"] == "file_input":
        added = [workspace.files[id] for id in typed.split(",")] if typed else []
        if len(added) > element.get("max_files", 10) or not (added or block.get("optional")):
            raise LookupError(f"{block['block_id']} does not take {len(added)} files")
        listed = [file.json(workspace.base, workspace.team) for file in added]
        return {element["action_id"]: {"type": "file_input", "files": listed}}
    if element["type"] in MOST_OPTIONS:
        return {element["action_id"]: _choice(block, typed)}
    text = element.get("initial_value", "") if typed is None else typed
    if not text and not block.get("optional"):
        raise LookupError(f"{block['block_id']} must be filled in")
    if len(text) > element.get("max_length", MAX_INPUT):
        raise LookupError(f"{block['block_id']} takes no more than {element['max_length']} characters")
    return {element["action_id"]: {"type": element["type"], "value": text or None}}


def _choice(block: dict[str, Json], typed: str | None) -> dict[str, Json]:
    """Return the state of a menu, radio buttons or checkboxes; `typed` is the value of one option."""
    element = block["element"]
    initial = [element["initial_option"]] if "initial_option" in element else []
    chosen = [each for each in element["options"] if each["value"] == typed] if typed else initial
    if (typed or not block.get("optional")) and not chosen:
        raise LookupError(f"{block['block_id']} has no option {typed!r}")
    if element["type"] == "checkboxes":
        return {"type": "checkboxes", "selected_options": chosen}
    return {"type": element["type"], "selected_option": chosen[0] if chosen else None}


def view_submission(workspace: Workspace, modal: Modal, values: dict[str, Json]) -> dict[str, Json]:
    """Return the payload of a submitted form, which does not name the channel."""
    return {
        "type": "view_submission",
        "team": {"id": workspace.team, "domain": "test"},
        "user": {
            "id": modal.user,
            "username": workspace.users[modal.user],
            "name": workspace.users[modal.user],
            "team_id": workspace.team,
        },
        "api_app_id": APP,
        "token": "verification-token",
        "trigger_id": workspace.new_trigger(modal.user),
        "view": modal.view | {"state": {"values": values}},
        "response_urls": [],
        **installed_by(workspace),
    }


def take_answer(modal: Modal, acked: bool, response: Json) -> None:
    """Apply the acknowledgement to the form: close it, or show its errors.

    Raises `Refused` for an answer that Slack shows as a problem.
    """
    modal.errors = None
    if not acked:
        modal.errors = {"": "We had some trouble connecting. Try again?"}
        return
    if not response:
        modal.is_open = False
        return
    errors = response.get("errors") or {}
    is_errors = response.get("response_action") == "errors" and errors
    require(is_errors, "invalid_response", f"{response!r}")
    inputs = {block["block_id"] for block in modal.view["blocks"] if block["type"] == "input"}
    require(errors.keys() <= inputs and all(errors.values()), "invalid_response", f"errors {errors!r}")
    modal.errors = errors
