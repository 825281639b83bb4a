"""Shipped scenarios: each is told on Slack and on Discord, with a model that says what the story says."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.composition.evaluation.checks import Checking, contains
from bot.composition.evaluation.scenario import ModelAnswers, Scenario
from bot.composition.evaluation.scenario_file import SHIPPED, read_scenarios
from bot.composition.evaluation.story import tell
from bot.storage.embedded import writer_dsn
from tests.servers.model import ModelServer
from tests.support.bot import run_bot
from tests.support.scripts import script_of
from tests.support.settings import of_model
from tests.support.stages import STAGES
from tests.support.table import restored_prices

STORIES = sorted(SHIPPED.glob("*.yaml"))


@pytest.mark.parametrize("platform", STAGES)
@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
async def test_users_see_what_the_scenario_says(
    storage: dict[str, Any], redis: Redis, model: ModelServer, path: Path, platform: str
) -> None:
    """And the model is given what it says; nothing is asked of the model beyond that."""
    scenario = read_scenarios([path])[path]
    answers = [each for each in scenario.story if isinstance(each, ModelAnswers)]
    model.script(*map(script_of, answers))
    changes = restored_prices(storage["database_url"]) if scenario.settings.writes else nullcontext()
    async with changes, STAGES[platform](scenario, redis) as stage:
        settings = {**storage, **of_model(model), **stage.settings, **settings_of(scenario, storage)}
        async with run_bot(**settings):
            await stage.connect()
            checking = Checking(is_scripted=True)
            conversation = await tell(scenario, stage, checking)
    failed = [each for each in checking.outcomes if not each.passed]
    assert not failed, "\n".join([*map(str, failed), *conversation])
    assert (len(model.requests), model.unused) == (len(answers), 0)
    for number, (answer, request) in enumerate(zip(answers, model.requests, strict=True), 1):
        given = "\n".join(str(each.get("content") or "") for each in request["messages"])
        wrong = [each for each in answer.given if not contains(each, given)]
        wrong += [each for each in answer.not_given if contains(each, given)]
        assert not wrong, f"request {number}: {wrong} in\n{given}"


def settings_of(scenario: Scenario, storage: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a bot in a story."""
    chosen = scenario.settings
    writes = {"sql_writes": "approval", "database_write_url": writer_dsn(storage["database_url"])}
    return {"follow_up": chosen.follow_up, **(writes if chosen.writes else {})}
