"""Command line. Settings are checked before anything heavy is imported."""

import argparse
import asyncio
import ctypes
import importlib
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bot import __version__, discord, http, slack
from bot.chat import BotError
from bot.concurrency import garbage, heap
from bot.config import (
    ConfigError,
    Settings,
    load_settings,
    secret_value,
    settings_table,
    settings_with,
    unknown_names,
)
from bot.config.logs import configure_logging
from bot.platforms.adapter import Adapter

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

PLATFORMS: Sequence[Adapter[Any]] = (
    slack.ADAPTER,
    discord.ADAPTER,
    http.ADAPTER,
)
"""The chat platforms. A new one is a folder with an `ADAPTER`, and a line here."""

SETTINGS = settings_with([each.settings for each in PLATFORMS])
"""The class of all settings, those of the platforms among them."""

_SWITCH_SECONDS = 0.0005
"""Time after which the event loop gets the interpreter lock back from a thread that computes.

A turn waits for it at each step, and Python's default of 5 ms doubles the time until its first text.
"""

_NOT_NEEDED = ("charset_normalizer", "httpx._main")
"""Modules that requests and httpx import if they can, and the bot never uses; they take 4 MiB of memory."""

_SET_DUMPABLE = 4

_UNREAD = 128 + signal.SIGPIPE
"""Exit code of programs that a closed pipe ends."""

_MOST_RUNS = 100
"""Most runs of each scenario."""


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bot", description="Threadmate, a chat agent for Slack, Discord and HTTP."
    )
    parser.set_defaults(command="run")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="serve until SIGTERM (what happens without a command)")
    commands.add_parser("settings", help="print the table of all settings")
    _add_manifest(commands)
    inbox = commands.add_parser("inbox", help="show the messages that wait, run or were given up")
    inbox.add_argument(
        "action", nargs="?", choices=["list", "show", "replay", "drop"], default="list", help="default: list"
    )
    inbox.add_argument(
        "entry",
        nargs="?",
        default="",
        help="for replay and drop a dead message as listed, or `all`; for show a message's id or link",
    )
    feedback = commands.add_parser("feedback", help="print the feedback of users on answers")
    feedback.add_argument("action", choices=["export"], help="all of the last 90 days, as JSON Lines")
    _add_eval(commands)
    parsed = parser.parse_args(arguments)
    parsed.command = parsed.command or "run"
    if parsed.command == "inbox" and (parsed.action == "list") == bool(parsed.entry):
        inbox.error("replay and drop need the entry of a dead message, or `all`; show needs an id or a link")
    return parsed


def _add_manifest(commands: Any) -> None:
    command = commands.add_parser("manifest", help="print the manifest of the Slack app, or Discord's")
    kind = command.add_mutually_exclusive_group()
    kind.add_argument(
        "--http", type=_https_address, metavar="URL", help="Slack in HTTP mode, at this address"
    )
    command.add_argument(
        "--oauth",
        type=_https_address,
        metavar="URL",
        help="Slack for many workspaces, in which users install the app at this address; also with --http",
    )
    kind.add_argument("--discord", action="store_true", help="Discord's application commands, as JSON")
    kind.add_argument("--invite", action="store_true", help="the link that adds the bot to a Discord server")
    command.add_argument(
        "--application", default="", metavar="ID", help="for --invite; default that of DISCORD_TOKEN"
    )


def _https_address(text: str) -> str:
    if not re.fullmatch(r"https://[\w.:-]+(/[\w./-]*)?", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            "use the address of the bot's web server, as https://bot.example.org"
        )
    return text


def _add_eval(commands: Any) -> None:
    command = commands.add_parser("eval", help="tell scenarios to the agent and score its answers")
    command.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="scenarios; default those shipped"
    )
    command.add_argument(
        "--runs", type=_number_of_runs, default=1, metavar="N", help="tell each N times; default 1"
    )
    command.add_argument("--judge", metavar="MODEL", help="model that judges; default OPENAI_MODEL")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    command.add_argument("--compare", type=Path, metavar="FILE", help="compare with results from --json")
    command.add_argument(
        "--at-least", type=float, metavar="PERCENT", help="exit with 1 if the score is lower"
    )


def _number_of_runs(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MOST_RUNS):
        raise argparse.ArgumentTypeError(f"use a number from 1 to {_MOST_RUNS}")
    return int(text)


def main(arguments: Sequence[str] | None = None, platforms: Sequence[Adapter[Any]] = PLATFORMS) -> int:
    """Run the command line. Returns the exit code: 0 clean, 1 an error, 2 something to fix.

    It is 141 if nobody reads the rest of the output, as after `| head`. `platforms` are those of `PLATFORMS`,
    possibly with other durations. The trace of an unexpected error goes through the log, which takes secrets
    out.
    """
    try:
        try:
            return _main(arguments, platforms)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNREAD


def _main(arguments: Sequence[str] | None, platforms: Sequence[Adapter[Any]]) -> int:
    parsed = _parse(arguments)
    if parsed.command == "settings":
        print(settings_table(SETTINGS))  # noqa: T201 - the output of this command
        return 0
    if parsed.command == "manifest":
        try:
            print(_manifest(parsed))  # noqa: T201 - the output of this command
        except ConfigError as error:
            return _report([error])
        return 0
    try:
        settings = load_settings(SETTINGS)
        configure_logging(
            style=settings.log_format,
            debug=settings.debug,
            secrets=settings.secrets(),
            patterns=[each.info.redaction for each in PLATFORMS if each.info.redaction],
        )
        return _run(parsed, settings, platforms)
    except asyncio.CancelledError:
        log.warning("stopped at once, on a second signal")
        return 1
    except (Exception, BaseExceptionGroup) as error:  # the outermost boundary
        if isinstance(error, BrokenPipeError) and parsed.command != "run":
            raise
        problems = _leaves(error)
        if all(isinstance(each, ConfigError | BotError) for each in problems):
            return _report(problems)
        log.critical("stopped by an unexpected error", exc_info=True)
        return 1


def _manifest(arguments: argparse.Namespace) -> str:
    """Return what an operator enters at Slack or Discord. Raises `ConfigError`."""
    if arguments.invite:
        from bot.discord.manifest import application_of, invite_link

        application = arguments.application
        if not application:
            token = load_settings(SETTINGS).of(discord.ADAPTER.settings).discord_token
            application = application_of(secret_value(token) or "")
        if not application:
            raise ConfigError(["DISCORD_TOKEN: names no application; set it, or use --application ID"])
        return invite_link(application)
    if arguments.discord:
        from bot.discord.manifest import command_payload

        return json.dumps(command_payload(), ensure_ascii=False, indent=2)
    from bot.slack.manifest import manifest

    return manifest(arguments.http or "", arguments.oauth or "").rstrip("\n")


def _run(arguments: argparse.Namespace, settings: Settings, platforms: Sequence[Adapter[Any]]) -> int:
    _hide_memory()
    sys.setswitchinterval(_SWITCH_SECONDS)
    heap.share()
    _skip_imports()
    if arguments.command == "run":
        log.info("starting", extra={"version": __version__})
        for each in unknown_names(SETTINGS):
            what = {"variable": each.name, "source": each.source, "hint": each.hint}
            log.warning("unknown setting", extra=what)
    if arguments.command == "eval":
        return _evaluate(settings, arguments)
    garbage.pause()  # `composition.serve` resumes it
    if arguments.command == "run":
        with asyncio.Runner(loop_factory=loop_factory(settings)) as runner:
            runner.run(_serve(settings, platforms))
        return 0
    from bot.composition import export_feedback, operate

    if arguments.command == "feedback":
        asyncio.run(export_feedback(settings, sys.stdout))
    else:
        print(asyncio.run(operate(settings, arguments.action, arguments.entry)))  # noqa: T201 - its output
    return 0


def _evaluate(settings: Settings, arguments: argparse.Namespace) -> int:
    from bot.composition.evaluation import Options, run

    if not settings.debug:
        logging.getLogger("bot").setLevel(logging.ERROR)  # the report says what has failed
    names = ("files", "runs", "judge", "json", "compare", "at_least")
    options = Options(**{name: getattr(arguments, name) for name in names})
    report = partial(print, file=sys.stderr, flush=True)
    try:
        text, is_enough = asyncio.run(_until_signal(run(settings, options, report)))
    except asyncio.CancelledError:
        report("stopped by a signal: there is no result")
        return 1
    print(text)  # noqa: T201 - the output of this command
    return 0 if is_enough else 1


async def _until_signal(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return the result of `work`; SIGINT and SIGTERM cancel it, so that it can clean up."""
    itself, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert itself is not None
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, itself.cancel)
    return await work


def loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of uvloop's event loop, unless it is not wanted or not installed: then None."""
    if settings.event_loop == "uvloop":
        with suppress(ImportError):
            from uvloop import new_event_loop

            return new_event_loop
    return None


async def _serve(settings: Settings, platforms: Sequence[Adapter[Any]]) -> None:
    """Import the bot while its servers start, since each takes seconds; then serve.

    By now the settings are known to be right. A signal meanwhile ends the process at once, which the servers
    survive (`bot.storage.embedded`).
    """
    from bot.storage.client import check_redis
    from bot.storage.embedded import open_servers

    importing = asyncio.create_task(asyncio.to_thread(importlib.import_module, "bot.composition"))
    redis_url, database_url = secret_value(settings.redis_url), secret_value(settings.database_url)
    if redis_url is not None:
        await check_redis(redis_url)
    async with open_servers(settings.data_dir, redis_url, database_url) as servers:
        await importing
        from bot.composition import serve

        await serve(settings, servers, platforms)


def _skip_imports() -> None:
    """Let imports of modules that are not needed fail (https://docs.python.org/3/reference/import.html)."""
    modules: dict[str, Any] = sys.modules
    for each in _NOT_NEEDED:
        modules.setdefault(each, None)


def _hide_memory() -> None:
    """Let no other process of this user read this one's memory and environment (Linux, prctl(2)).

    Plug-ins and parsers of untrusted files run beside it. There are no core dumps either.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def _report(problems: Sequence[BaseException]) -> int:
    """Print the problems that the operator has to fix."""
    lines = [str(each) for each in problems]
    if any(isinstance(each, ConfigError) for each in problems):
        unknown = unknown_names(SETTINGS)
        lines += [f"{each.name}: not a setting ({each.source}); {each.hint}" for each in unknown]
    for line in lines:
        print(line, file=sys.stderr)  # noqa: T201 - logging may not be set up yet
    return 2


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
