"""Start summary for the operator at the terminal: address, active parts, what is missing, the end. Pure."""

from bot.config.connections import connections, is_trial
from bot.config.settings import Settings

_WIDTH = 10


def summary(settings: Settings, page: str | None) -> str:
    """Return one block; `page` is the address of the local page, or None if it is not served.

    Its lines fit a terminal of 80 columns, unless an address or a name is long.
    """
    rows = {
        "Page": page or _no_page(settings),
        "Model": _model(settings),
        **_platforms(settings),
        "Redis": _server(settings.redis_url is not None, "REDIS_URL", f"data in {settings.data_dir}"),
        "Postgres": _server(settings.database_url is not None, "DATABASE_URL", "with sample data"),
        "Changes": _changes(settings),
    }
    missing = [each for each in connections(settings) if not each.is_connected]
    lines = ["", "Threadmate is running.", ""]
    lines += [f"  {name:<{_WIDTH}}{text}" for name, text in rows.items()]
    if missing:
        lines += ["", "To connect more, in the environment or in .env, and start again:"]
        lines += [f"  {each.title}: {each.advice}" for each in missing]
    return "\n".join([*lines, "", "Stop it with Ctrl-C (or SIGTERM).", ""])


def _no_page(settings: Settings) -> str:
    if "http" not in settings.bot_roles:
        return "off in this process (BOT_ROLES)"
    served = "/slack/… and /hooks/…" if settings.hooks else "/slack/…"
    return f"off, except for {served}; set API_TOKEN to serve it (docs/http.md)"


def _model(settings: Settings) -> str:
    if not settings.has_model:
        return "none: a demonstration answers instead"
    fallback = settings.openai_fallback_model
    return settings.openai_model + (f", then {fallback}" if fallback else "")


def _platforms(settings: Settings) -> dict[str, str]:
    states = {each.info.title: each.state(settings.bot_roles) for each in settings.each_platform()}
    return {title: state for title, state in states.items() if state}


def _server(is_set: bool, variable: str, data: str) -> str:
    return variable if is_set else f"embedded, {data} ({variable} is not set)"


def _changes(settings: Settings) -> str:
    if is_trial(settings):
        return "of the sample data, each with your approval"
    if settings.sql_writes == "off":
        return "off: the database is only read (SQL_WRITES, docs/approvals.md)"
    return "of the database: each one needs an approval"
