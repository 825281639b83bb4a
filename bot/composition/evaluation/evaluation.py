"""Evaluation of the agent: scenarios are told to the whole bot, with servers and state of their own.

Nothing is sent to a chat service, and nothing of the deployment is read or changed: Redis is a new one, the
people and channels of each run exist in no other run, and the database is the sample one unless a scenario
asks for the deployment's.
"""

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from bot.access.budget import TOTAL
from bot.access.spending import SpendingStore, Usage
from bot.app import Bot
from bot.chat import Tokens
from bot.composition.evaluation import platform, texts
from bot.composition.evaluation.checks import Checking
from bot.composition.evaluation.judge import ModelJudge
from bot.composition.evaluation.report import progress
from bot.composition.evaluation.results import CheckResult, Results, RunResult, ScenarioResult
from bot.composition.evaluation.scenario import Scenario
from bot.composition.evaluation.stage import StoryStage, author_of
from bot.composition.evaluation.story import tell
from bot.composition.parts import open_bot
from bot.config import WORKER, ConfigError, Settings, secret_value
from bot.storage.client import open_redis
from bot.storage.embedded import Servers, open_servers

AT_ONCE = 4
"""Stories that are told at the same time: few, because model services limit requests."""

_OVER_TURN_SECONDS = 30.0
"""Time after the limit of a turn in which it must have ended."""

_SERVICES = ("postgres", "writes", "plugins")
"""Parts of the bot that can be the deployment's, as the health report names them."""

Report = Callable[[str], None]
"""Function that shows progress."""


@dataclass(frozen=True, slots=True)
class Run:
    """One telling of a scenario, in a space of its own."""

    file: str
    scenario: Scenario
    space: str


async def evaluate(
    settings: Settings,
    scenarios: Mapping[str, Scenario],
    *,
    runs: int = 1,
    judge: str | None = None,
    servers: Servers | None = None,
    report: Report = lambda _: None,
    at_once: int = AT_ONCE,
) -> Results:
    """Tell each scenario `runs` times, and return the results by their names.

    `judge` is the model that judges, by default OPENAI_MODEL. Without `servers`, new ones are started. Raises
    `AnswerError` if the model does not answer at all, `ConfigError` if a scenario needs a service that is not
    configured, and the errors of an opening bot.
    """
    _check_services(settings, scenarios)
    began, at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    batch = uuid.uuid4().hex[:8]
    each_run = [(name, scenario) for name, scenario in scenarios.items() for _ in range(runs)]
    planned = [Run(*each, f"{batch}-{number}") for number, each in enumerate(each_run, 1)]
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bot-eval-")))
        judging = await stack.enter_async_context(_open_judge(settings, judge))
        if servers is None:
            servers = await stack.enter_async_context(open_servers(directory, None, None))
        told: dict[str, RunResult] = {}
        for _, group in groupby(sorted(planned, key=_settings_key), _settings_key):
            members = list(group)
            adapted = _adapt(settings, members, directory)
            told |= await _tell_all(
                adapted, _servers(settings, servers, members), members, judging, report, at_once
            )
        spent = await _spent(settings, servers, judging)
    return Results(
        model=settings.openai_model if settings.has_model else texts.OFFLINE_NAME,
        judge=(judge or settings.openai_model) if judging else "",
        at=at,
        scenarios=tuple(
            ScenarioResult(
                file=name,
                title=scenario.title,
                runs=tuple(told[run.space] for run in planned if run.file == name),
            )
            for name, scenario in scenarios.items()
        ),
        input_tokens=spent.input,
        output_tokens=spent.output,
        cost=spent.cost,
        currency=settings.currency,
        seconds=round(time.monotonic() - began, 1),
    )


def _check_services(settings: Settings, scenarios: Mapping[str, Scenario]) -> None:
    has_plugins = bool(settings.plugins.servers or settings.plugins.entry_points)
    problems: list[str] = []
    for name, scenario in scenarios.items():
        if scenario.settings.database == "yours" and not secret_value(settings.database_url):
            problems.append(texts.no_database(name))
        if scenario.settings.plugins and not has_plugins:
            problems.append(texts.no_plugins(name))
    if problems:
        raise ConfigError(problems)


def _settings_key(run: Run) -> tuple[str, ...]:
    """Return what needs a bot of its own."""
    chosen = run.scenario.settings
    return (chosen.follow_up, str(chosen.writes), chosen.database, str(chosen.plugins))


def _servers(settings: Settings, own: Servers, runs: Sequence[Run]) -> Servers:
    """Return the servers of these runs, which have the same settings."""
    url = secret_value(settings.database_url)
    return Servers(own.redis_url, url) if url and runs[0].scenario.settings.database == "yours" else own


def _adapt(settings: Settings, runs: Sequence[Run], directory: Path) -> Settings:
    """Return settings with the deployment's model and limits, and without its services and users."""
    chosen = runs[0].scenario.settings
    is_own_database = chosen.database == "yours"
    changes: dict[str, Any] = {
        **dict.fromkeys(("allowed_users", "allowed_channels", "allowed_spaces"), frozenset()),
        **dict.fromkeys(("allowed_roles", "allowed_bots"), frozenset()),
        **dict.fromkeys(("budget_user", "budget_channel", "budget_space", "budget_total")),
        **dict.fromkeys(("redis_url", "user_rate", "channel_rate")),
        "bot_roles": frozenset({platform.INFO.name, WORKER}),
        "bot_name": "",
        "data_dir": directory,
        "log_format": "json",  # the other one prints a summary of the start
        "admin_users": _people(runs, "administrators"),
        "approvers": _people(runs, "approvers"),
        "approvals_channel": "",
        "approval_four_eyes": False,
        "follow_up": chosen.follow_up,
        "sql_writes": "approval" if chosen.writes else "off",
        "database_url": settings.database_url if is_own_database else None,
        "database_write_url": settings.database_write_url if is_own_database else None,
        "mcp_servers": settings.mcp_servers if chosen.plugins else None,
        "tool_plugins": settings.tool_plugins if chosen.plugins else "",
    }
    return settings.model_copy(update=changes)


def _people(runs: Sequence[Run], role: Literal["administrators", "approvers"]) -> frozenset[str]:
    return frozenset(
        author_of(run.space, name) for run in runs for name in getattr(run.scenario.settings, role)
    )


async def _tell_all(
    settings: Settings,
    servers: Servers,
    runs: Sequence[Run],
    judge: ModelJudge | None,
    report: Report,
    at_once: int,
) -> dict[str, RunResult]:
    """Tell the stories of these runs to one bot; return the results by space."""
    stop, limit = asyncio.Event(), asyncio.Semaphore(at_once)
    async with open_bot(settings, servers, [platform.ADAPTER]) as bot, asyncio.TaskGroup() as group:
        group.create_task(bot.run(stop, time.monotonic()))
        remarks = await _limitations(bot)

        async def tell_one(run: Run) -> RunResult:
            async with limit:
                result = await _tell(bot, run, judge, remarks)
            report(progress(run.file, result))
            return result

        tasks = {run.space: group.create_task(tell_one(run)) for run in runs}
        results = {space: await task for space, task in tasks.items()}
        stop.set()
    return results


async def _limitations(bot: Bot) -> tuple[str, ...]:
    """Return a sentence for each service of the deployment that does not work as it should."""
    parts = [each for each in await bot.check_health() if each.name in _SERVICES and each.state != "ok"]
    return tuple(texts.limited(each.name, each.state, each.evidence) for each in parts)


async def _tell(bot: Bot, run: Run, judge: ModelJudge | None, remarks: tuple[str, ...]) -> RunResult:
    began = time.monotonic()
    (stories,) = (each for each in bot.platforms if isinstance(each, platform.StoryPlatform))
    patience = bot.settings.turn_timeout + _OVER_TURN_SECONDS
    stage = StoryStage(run.scenario, run.space, stories, bot.requests, bot.lookup.is_idle, patience)
    checking = Checking(judge)
    conversation = await tell(run.scenario, stage, checking)
    return RunResult(
        checks=tuple(CheckResult(**asdict(each)) for each in checking.outcomes),
        conversation=tuple(conversation),
        problems=tuple(stage.problems),
        remarks=remarks,
        seconds=round(time.monotonic() - began, 1),
    )


@asynccontextmanager
async def _open_judge(settings: Settings, name: str | None) -> AsyncIterator[ModelJudge | None]:
    """Open the model that judges, if there is a service; first see that the one that answers does so."""
    if not settings.has_model:
        yield None
        return
    from bot.agent.models.openai_service import open_model  # takes over a second: only on demand

    async with AsyncExitStack() as stack:
        answering, judging = [
            await stack.enter_async_context(
                open_model(
                    name=each,
                    fallback=None,
                    api_key=settings.openai_api_key,
                    base_url=settings.openai_base_url,
                    timeout=settings.request_timeout,
                    tools=(),
                )
            )
            for each in (settings.openai_model, name or settings.openai_model)
        ]
        for model in [answering, judging] if name else [answering]:
            await ModelJudge(model).probe()
        yield ModelJudge(judging)


async def _spent(settings: Settings, servers: Servers, judge: ModelJudge | None) -> Usage:
    """Return what the bots and the judge have used."""
    async with open_redis(servers.redis_url, pool_size=2) as redis:
        store = SpendingStore(redis, settings.turn_timeout)
        days = (await store.usage_by_day(TOTAL)).values() if settings.has_model else ()
    used = [*days, *(_price(settings, *each) for each in (judge.tokens.items() if judge else ()))]
    return Usage(
        input=sum(each.input for each in used),
        output=sum(each.output for each in used),
        cost=sum(each.cost for each in used),
    )


def _price(settings: Settings, model: str, tokens: Tokens) -> Usage:
    price = settings.model_prices.get(model)
    cost = price.of(tokens.input, tokens.output) if price else 0
    return Usage(tokens.input, tokens.output, cost)
