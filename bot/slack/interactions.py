"""Bolt's part: slash commands, buttons and forms, and in HTTP mode the verification of the address.

Bolt acknowledges an event before its listener has run, and drops it when its own `auth.test` fails
(slack_bolt/listener/asyncio_runner.py, middleware/authorization). So events are delivered in
`before_authorize`, which runs after the signature check and before everything else; events on sockets do not
pass through Bolt at all.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import aiohttp
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.response import BoltResponse

from bot.chat import Deliver, Json, StorageDown
from bot.chat.texts import NO_STORAGE
from bot.commands.commands import Commands
from bot.slack import texts
from bot.slack.api import SDK_LOG, Clients
from bot.slack.ask import add_shortcuts
from bot.slack.block_text import objects, word
from bot.slack.commands import add_commands, is_listened_to
from bot.slack.errors import NotInstalled, TokenLost
from bot.slack.events import team_of_interaction
from bot.slack.home_presses import add_feedback_form, is_home
from bot.slack.markdown import mrkdwn
from bot.slack.responses import follow_up
from bot.slack.socket_mode import DeliverEvent
from bot.slack.timing import Timing
from bot.slack.workspace import Workspace
from bot.slack.workspaces import Workspaces

log = logging.getLogger(__name__)


def build_app(
    workspaces: Workspaces,
    clients: Clients,
    signing_secret: str,
    deliver: Deliver,
    deliver_event: DeliverEvent,
    note_arrival: Callable[[], None],
    commands: Commands,
    timing: Timing,
) -> AsyncApp:
    """Return the app that answers `commands` in all workspaces.

    It passes events to `deliver_event`, and questions of shortcuts to `deliver`. Everything that Slack has
    signed is noted.
    """

    def workspace_of(body: Mapping[str, Json]) -> Workspace:
        return workspaces.of(team_of_interaction(body))

    async def is_external(body: Mapping[str, Json]) -> bool:
        return await workspace_of(body).is_external(_user_of(body))

    async def authorize() -> AuthorizeResult:
        # each workspace has a client of its own (`bot.slack.workspace`): Bolt needs no token
        return AuthorizeResult(enterprise_id=None, team_id=None, bot_token="")

    async def hand_over(
        body: Mapping[str, Json], next: Callable[[], Awaitable[BoltResponse]]
    ) -> BoltResponse:
        note_arrival()
        is_press = body.get("type") == "block_actions"
        if not is_press and not is_listened_to(body):
            if body.get("type") == "url_verification":
                return await next()
            await deliver_event(body)  # raises: Bolt answers 500 or not at all, and Slack repeats
            return BoltResponse(status=200)
        try:
            workspace = await workspaces.of_interaction(body)
            workspace.home.expire(_user_of(body))
            if is_press:
                await _press(workspace, body, commands)
        except (NotInstalled, StorageDown) as error:
            log.warning("interaction refused", extra={"error": str(error)})
            return await _refuse(body, _sentence(error), clients.session, timing)
        return BoltResponse(status=200) if is_press else await next()

    app = AsyncApp(
        name=SDK_LOG.name,  # Bolt sets the level of the logger of this name
        logger=SDK_LOG,
        client=clients.reader,
        # without these two Bolt reads SLACK_SIGNING_SECRET, and calls auth.test for each event
        signing_secret=signing_secret,
        authorize=authorize,
        before_authorize=hand_over,
    )

    def show_home(body: Mapping[str, Json], metadata: str, notice: str) -> None:
        workspace_of(body).home.show_again(body, commands, metadata, notice)

    add_shortcuts(app, lambda body: workspace_of(body).ask(deliver))
    add_feedback_form(app, commands, lambda body: workspace_of(body).home_presses)
    add_commands(
        app,
        commands,
        lambda body: workspace_of(body).api,
        clients.session,
        is_external,
        show_home,
        timing.ack_timeout,
    )
    return app


def _user_of(body: Mapping[str, Json]) -> str:
    return word(body.get("user_id")) or word((body.get("user") or {}).get("id"))


async def _press(workspace: Workspace, body: Mapping[str, Json], commands: Commands) -> None:
    if is_home(body):
        await workspace.home_presses.take(body, commands)
    else:
        await workspace.buttons.handle(body, (await workspace.api.who()).team_id, commands)


def _sentence(error: NotInstalled | StorageDown) -> str:
    if isinstance(error, TokenLost):
        return texts.ACCESS_LOST
    return texts.NOT_INSTALLED if isinstance(error, NotInstalled) else NO_STORAGE


async def _refuse(
    body: Mapping[str, Json], words: str, session: aiohttp.ClientSession, timing: Timing
) -> BoltResponse:
    """Acknowledge an interaction that nothing comes of, and tell the user why if Slack allows it.

    A form stays open, so that what was typed is not lost.
    """
    if "command" in body:
        return BoltResponse(status=200, body=mrkdwn(words))
    if body.get("type") == "view_submission" and (field := _first_input(body.get("view"))):
        return BoltResponse(status=200, body={"response_action": "errors", "errors": {field: words}})
    if url := word(body.get("response_url")):
        with suppress(TimeoutError):
            async with asyncio.timeout(timing.button_timeout):
                await follow_up(session, url, mrkdwn(words))
    return BoltResponse(status=200)


def _first_input(view: Json) -> str:
    """Return the id of the first input of a form, below which Slack can show an error."""
    blocks = objects(view.get("blocks")) if isinstance(view, dict) else ()
    return next((word(each.get("block_id")) for each in blocks if each.get("type") == "input"), "")
