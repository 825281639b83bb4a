"""Scenario files: what is wrong is said with its line, and nothing hostile costs much."""

import os
import time
from pathlib import Path

import pytest

from bot.composition.evaluation.checks import contains, matches
from bot.composition.evaluation.scenario import BotShows, ModelAnswers, Says, Silence
from bot.composition.evaluation.scenario_file import (
    MOST_BYTES,
    SHIPPED,
    ScenarioError,
    find_files,
    parse_scenario,
    read_scenarios,
)
from bot.config import ConfigError
from tests.support.growth import MOST_GROWTH, grows

GOOD = """\
title: A story
settings:
  approvers: bob
story:
  - ana: "@bot hello"
    in: sales
    id: first
  - model: {sql_query: {query: SELECT 1}}
  - model: no
    given: [12:30]
  - bot: "... hello ..."
    expect: {contains: hello}
  - bob: "[Approve]"
  - silence: Nothing is asked.
"""


def test_a_story_is_read_as_it_is_written() -> None:
    """`no` and `12:30` are texts, as in YAML 1.2."""
    scenario = parse_scenario(GOOD)
    ana, call, text, shows, bob, silence = scenario.story
    assert isinstance(ana, Says)
    assert (ana.person, ana.text, ana.place, ana.id) == ("ana", "@bot hello", "sales", "first")
    assert isinstance(call, ModelAnswers)
    assert call.model == {"sql_query": {"query": "SELECT 1"}}
    assert isinstance(text, ModelAnswers)
    assert (text.model, text.given) == ("no", ("12:30",))
    assert isinstance(shows, BotShows)
    assert shows.expect.contains == ("hello",)
    assert isinstance(bob, Says)
    assert bob.button == "Approve"
    assert isinstance(silence, Silence)
    assert scenario.settings.approvers == ("bob",)


STORY = "title: A story\nstory:\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: begin with `title:`"),
        ("- ana", "line 1: begin with `title:`"),
        ("title: A story", "line 1: story is missing"),
        ('title: "A', "line 1: this is not YAML: found unexpected end of stream"),
        ("title: A\ntitle: B", "line 2: title is here twice"),
        ("title: A\n? [a]\n: b", "line 2: a key is a word"),
        ("title: A\nstory: hello", "line 2: story is a list: begin each line with `- `"),
        ("title: \x00", "this is not YAML"),
        (f"{GOOD}mood: good", "line 15: mood is not known here; known are title, settings, story"),
        (
            GOOD.replace("approvers", "approver"),
            "line 3: approver is not known here; known are administrators",
        ),
        (GOOD.replace("approvers: bob", "approvers: eve"), "approvers: eve does not appear in the story"),
        (GOOD.replace("approvers: bob", "follow_up: often"), "line 3: follow_up is 'always', 'partner' or"),
        (GOOD.replace("contains", "has"), "line 12, step 4: has is not known here; known are contains"),
        (
            GOOD.replace("contains: hello", "contains: 5"),
            "line 12, step 4: contains is a text: put it in quotes",
        ),
        (GOOD.replace("in: sales", "inn: sales"), "line 5, step 1: ana and inn cannot begin a step."),
        (GOOD.replace("ana:", "Ana:"), "line 5, step 1: 'Ana' is not a name: use lower-case letters"),
        (
            GOOD.replace("{sql_query: {query: SELECT 1}}", "[1]"),
            "line 8, step 2: the model answers a text, or",
        ),
        (f"{STORY} - ana: 5\n - bot: hi", "line 3, step 1: this is a text: put it in quotes"),
        (f"{STORY} - 5\n - bot: hi", "line 3, step 1: story: a step names who acts, with a text"),
        (f"{STORY} - bot: hi\n - ana: hi", "step 1: a story begins with a message of a person"),
        (f"{STORY} - ana: hi", "add a step `bot` or `silence`"),
        (f"{STORY} - ana: '[[plan]]'\n - bot: hi", "step 1: no earlier message has `id: plan`"),
        (f"{STORY} - ana: hi\n   edits: it\n - bot: hi", "step 1: no earlier message has `id: it`"),
        (f"{STORY} - ana: a\n   id: it\n - bob: b\n   edits: it\n - bot: c", "step 2: only ana can edit it"),
        (
            f"{STORY} - ana: a\n   file: {{name: ../a.txt, text: b}}\n - bot: c",
            "line 4, step 1: name does not",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_step(text: str, problem: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    assert len(caught.value.problems) == 1, caught.value
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "a: &a [x]\n" + "".join(f"{n}: [*a, *a, *a]\n" for n in range(9)),
            "line 1: anchors (&) and aliases",
        ),
        ("title: *a", "line 1: anchors (&) and aliases (*) are not used"),
        ("title: !!python/object/apply:os.system [ls]", "line 1: tags (!) are not used"),
        ("title: !x y", "line 1: tags (!) are not used"),
        ("[" * 50_000, "line 1: this is nested too deeply"),
        ("{a: " * 40_000, "line 1: this is nested too deeply"),
        ("- " * 90_000, "line 1: this is nested too deeply"),
        ("\n".join(["- a"] * 60_000), "values at most; split the story"),
        (f"title: {'9' * 100_000}\nstory: []", "line 1: title: string should have at most 120 characters"),
        (STORY + " - ana: a\n" * 200 + " - bot: b", "line 2: story: tuple should have at most 100 items"),
    ],
    ids=range(10),
)
def test_a_hostile_file_is_refused_in_seconds(text: str, problem: str) -> None:
    began = time.thread_time()
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    assert problem in str(caught.value)
    assert time.thread_time() - began < 5  # quadratic cost would be minutes


def test_a_file_that_is_too_large_or_no_file_is_refused_with_its_name(tmp_path: Path) -> None:
    large, pipe, latin = (tmp_path / name for name in ("large.yaml", "pipe.yaml", "latin.yaml"))
    large.write_bytes(b" " * (MOST_BYTES + 1))
    os.mkfifo(pipe)
    latin.write_bytes(b"title: \xe9")
    with pytest.raises(ConfigError) as caught:
        read_scenarios([large, pipe, latin, tmp_path / "absent.yaml"])
    assert caught.value.problems == [
        f"{large}, line 1: a scenario has 200,000 bytes at most; split the story",
        f"{pipe}, line 1: this is not a file",
        f"{latin}, line 1: this file is not text in UTF-8",
        f"{tmp_path}/absent.yaml, line 1: this file cannot be read: No such file or directory",
    ]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="there is no scenario"):
        find_files([empty])


def test_twenty_scenarios_are_shipped_and_each_has_its_own_title() -> None:
    scenarios = read_scenarios(find_files([SHIPPED]))
    assert len(scenarios) >= 20
    assert len({each.title for each in scenarios.values()}) == len(scenarios)


@pytest.mark.parametrize(
    ("value", "text", "holds"),
    [
        ("Oslo", "It is oslo.", True),
        ("is  in\nOslo", "It is in Oslo", True),
        ("59", "There are 59 of them", True),
        ("59", "59", True),
        ("59", "There are 159", False),
        ("59", "There are 59,100", False),
        ("59", "There are 1.59", False),
        ("59", "There are 159, or rather 59.", True),
        ("600 customers", "1,600 customers", False),
        ("Straße", "STRASSE", True),
    ],
)
def test_a_text_contains_words_in_any_case_and_whole_numbers(value: str, text: str, holds: bool) -> None:
    assert contains(value, text) is holds


@pytest.mark.parametrize(
    ("pattern", "text", "holds"),
    [
        ("Yes.", "Yes.", True),
        ("Yes.", "Yes. And no.", False),
        ("Yes....", "Yes. And no.", True),
        ("...no.", "Yes. And no.", True),
        ("Yes...And...no.", "Yes. And\n\n no.", True),
        ("...And...And...", "Yes. And no.", False),
        ("...", "", True),
        ("a...a", "a", False),
    ],
)
def test_three_dots_stand_for_any_text(pattern: str, text: str, holds: bool) -> None:
    assert matches(pattern, text) is holds


def test_a_pattern_takes_linear_time() -> None:
    """A regular expression could take for ever."""
    assert grows(lambda text: matches("...a" * 300 + "b", text), lambda length: "a" * length) <= MOST_GROWTH
    assert grows(lambda text: contains("1" * 1_000, text), lambda length: "1" * length + "2") <= MOST_GROWTH
