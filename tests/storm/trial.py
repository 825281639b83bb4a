"""One trial: a cluster, a storm, and the conditions that must hold at the end."""

from contextlib import AsyncExitStack
from pathlib import Path

from bot.inbox import admin, queries
from bot.storage.client import open_redis
from bot.storage.embedded import embedded_postgres, embedded_redis
from tests.servers.discord.service import Discord
from tests.servers.model import KEY, model_server
from tests.servers.slack.service import ALICE, Slack
from tests.storm.cluster import cluster
from tests.storm.orders import open_orders
from tests.storm.storm import LEASE_SECONDS, Storm
from tests.support.wait import wait_until

QUESTION_SECONDS = 15.0
"""Seconds that the agent waits for the answer to a question."""

QUIET_SECONDS = 300.0
"""Seconds after the last fault until everything must be answered: Slack allows 40 threads a minute to be
read, so catch-up in many threads takes a while."""

FINISH_SECONDS = 60.0
"""Seconds until nothing looks unfinished any more."""


async def trial(seed: int, seconds: float, count: int, directory: Path) -> tuple[list[str], str]:
    """Run a storm of `seconds` with `count` processes; return the problems, and the counts."""
    async with AsyncExitStack() as stack:
        redis_url = await stack.enter_async_context(embedded_redis(directory / "servers"))
        database_url = await stack.enter_async_context(embedded_postgres(directory / "servers"))
        orders = await stack.enter_async_context(open_orders(database_url))
        redis = await stack.enter_async_context(open_redis(redis_url, pool_size=5))
        slack = await stack.enter_async_context(Slack(ack_timeout=1, redelivery_delays=(0.2, 2, 5)))
        slack.tolerate("message_not_in_streaming_state")  # of a stream whose end we were not told of
        # of a question that was deleted meanwhile
        slack.tolerate("invalid_thread_ts", "cannot_reply_to_message", "thread_not_found")
        discord = await stack.enter_async_context(Discord())
        discord.starts.shards = 2
        # of a press that a process took before it was killed or suspended
        discord.tolerate("was not answered within", "Unknown interaction")
        model = await stack.enter_async_context(model_server())
        environ = {
            **slack.environ,
            **discord.environ,
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": model.base_url,
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "SHUTDOWN_GRACE": "5",
            "HTTP_PORT": "0",
            "LOG_FORMAT": "json",
            "SQL_WRITES": "approval",
            "DATABASE_WRITE_URL": orders.dsn,
            "QUESTION_HOURS": str(QUESTION_SECONDS / 3600),
            "APPROVERS": f"slack:{ALICE},discord:{discord.alice.id}",
        }
        nodes = await stack.enter_async_context(cluster(count, environ, directory))
        await wait_until(lambda: all(node.serves for node in nodes), "the cluster serves", timeout=60)
        await slack.wait_for_connections(timeout=30)
        await discord.wait_for_connections(2, timeout=30)
        storm = Storm(seed, slack, discord, model, nodes, redis, orders)
        await storm.greet()
        await storm.rage(seconds)
        problems: list[str] = []
        try:
            await wait_until(lambda: not storm.unanswered_questions(), "all answered", QUIET_SECONDS)
            await storm.wait_for_acts()
            await wait_until(storm.is_settled, "all settled", QUIET_SECONDS)
            problems += await storm.recall()
            await wait_until(lambda: not storm.unfinished(), "all finished", FINISH_SECONDS)
        except AssertionError:
            problems += [f"lost: {each.token} in {each.place.name}" for each in storm.unanswered_questions()]
            problems += [f"unfinished on Slack: {each}" for each in storm.unfinished()]
            problems.append(f"in the inbox: {await admin.list_messages(redis)}")
        problems += await storm.problems_of_acts()
        problems += await storm.vote_faults()
        problems += [f"over Slack's limit: {each}" for each in slack.over_tier().items()]
        problems += [
            f"twice: {each.token} in {each.place.name}: {each.place.visible_text()!r}"
            for each in storm.repeated_questions()
        ]
        problems += [
            f"violation: {each}" for each in (*slack.violations, *discord.violations, *model.violations)
        ]
        dead = {each.text.partition(" ")[0] for each in await queries.dead(redis)}
        if not storm.given_up <= dead <= storm.given_up | storm.deleted:
            problems.append(f"given up: {dead}, due: {storm.given_up}")
        if problems:
            problems.append(f"the logs are in {directory}")
        return problems, storm.report()
