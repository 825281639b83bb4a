"""One trial: a cluster, a storm, and what must hold when it is over."""

from contextlib import AsyncExitStack
from pathlib import Path

from bot.embedded import embedded_postgres, embedded_redis
from bot.inbox import inbox_health
from bot.store import open_redis
from tests.servers.discord import Discord
from tests.servers.model import KEY, model_server
from tests.servers.slack import Slack
from tests.storm.cluster import Node, cluster
from tests.storm.storm import LEASE_SECONDS, Storm
from tests.waiting import wait_until

QUIET_SECONDS = 300.0
"""How long after the last trouble everything must have been answered: Slack lets us read 40 threads a minute,
so what was missed in many of them takes a while."""

FINISH_SECONDS = 60.0
"""And nothing looks unfinished any more."""


async def trial(seed: int, seconds: float, count: int, directory: Path) -> tuple[list[str], str]:
    """Rage for `seconds` with `count` processes; returns what went wrong, and the counts."""
    async with AsyncExitStack() as stack:
        redis_url = await stack.enter_async_context(embedded_redis(directory / "servers"))
        database_url = await stack.enter_async_context(embedded_postgres(directory / "servers"))
        redis = await stack.enter_async_context(open_redis(redis_url, pool_size=5))
        slack = await stack.enter_async_context(Slack(ack_timeout=1, redelivery_delays=(0.2, 2, 5)))
        slack.tolerate("message_not_in_streaming_state")  # of a stream whose end we were not told of
        discord = await stack.enter_async_context(Discord())
        discord.starts.shards = 2
        model = await stack.enter_async_context(model_server())
        environ = {
            **slack.environ,
            **discord.environ,
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": model.base_url,
            "LEASE_SECONDS": str(LEASE_SECONDS),
        }
        nodes = await stack.enter_async_context(cluster(count, environ, directory))
        await wait_until(lambda: all(node.serves for node in nodes), "the cluster serves", timeout=60)
        await slack.connected(timeout=30)
        await discord.connected(2, timeout=30)
        storm = Storm(seed, slack, discord, model, nodes, redis)
        await storm.greet()
        await storm.rage(seconds)
        problems: list[str] = []
        try:
            await wait_until(lambda: not storm.unanswered(), "all answered", QUIET_SECONDS)
            problems += await storm.recall()
            await wait_until(lambda: not slack.unfinished(), "all finished", FINISH_SECONDS)
        except AssertionError:
            problems += [f"lost: {each.token} in {each.place.name}" for each in storm.unanswered()]
            problems += [f"unfinished on Slack: {each}" for each in slack.unfinished()]
        problems += [f"over Slack's limit: {each}" for each in slack.over_tier().items()]
        problems += [
            f"twice: {each.token} in {each.place.name}: {each.place.shown()!r}" for each in storm.repeated()
        ]
        problems += [
            f"violation: {each}" for each in (*slack.violations, *discord.violations, *model.violations)
        ]
        health = await inbox_health(redis)
        if health.evidence["dead"]:
            problems.append(f"dead messages: {health.evidence}")
        if problems:
            _keep_logs(nodes, directory)
            problems.append(f"the logs are in {directory}")
        return problems, storm.report()


def _keep_logs(nodes: list[Node], directory: Path) -> None:
    for node in nodes:
        (directory / f"{node.name}.log").write_text("\n".join(node.all_output))
