"""`/agent-redis` on Slack: the subcommand and its arguments are the text behind the command."""

from collections.abc import Mapping

from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, PlatformError
from bot.commands.redis import Caller, Operations
from bot.slack.api import SlackApi
from bot.slack.commands import REDIS, IsExternal, answer_in_time
from bot.slack.redis_form import answer_form, form


def answer_redis(app: AsyncApp, operations: Operations, api: SlackApi, is_external: IsExternal) -> None:
    """Let `app` answer the command and the form that it may open, for the caller's eyes only."""

    async def redis(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await answer_in_time(ack, api.session, body, _answer(operations, api, body, is_external))

    app.command(REDIS)(redis)
    answer_form(app, operations, api, is_external)


async def _answer(
    operations: Operations, api: SlackApi, body: Mapping[str, Json], is_external: IsExternal
) -> str:
    """The answer as Markdown; empty when a form is shown instead."""
    user, where = body["user_id"], f"slack:{body['team_id']}:{body['channel_id']}"
    caller = Caller(f"slack:{user}", where, is_external=await is_external(user))
    outcome = await operations.typed(body.get("text") or "", caller)
    if isinstance(outcome, str):
        return outcome
    view = form(outcome, body["channel_id"])
    try:
        # within the three seconds for which Slack lets a trigger open something
        await api.write("views.open", trigger_id=body["trigger_id"], view=view)
    except PlatformError as error:
        return f"The form for the value could not be opened, please try again: {error}"
    return ""
