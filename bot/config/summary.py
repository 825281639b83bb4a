"""Start summary for the operator at the terminal: active parts, missing settings, next steps. Pure."""

from bot.config.settings import Settings

_WIDTH = 10


def summary(settings: Settings, page: str | None) -> str:
    """Return a line for each part; `page` is the address of the local page, or None if it is not served."""
    rows = {
        "Page": page or _no_page(settings),
        "Model": _model(settings),
        **_platforms(settings),
        "Redis": _server(settings.redis_url is not None, "REDIS_URL", f"data in {settings.data_dir}"),
        "Postgres": _server(settings.database_url is not None, "DATABASE_URL", "with sample data"),
        "Changes": _changes(settings),
        "Stop": "Ctrl-C, or SIGTERM",
    }
    return "\n".join(f"  {name:<{_WIDTH}}{text}" for name, text in rows.items())


def _no_page(settings: Settings) -> str:
    if "http" not in settings.bot_roles:
        return "off in this process (BOT_ROLES)"
    served = "/slack/… and /hooks/…" if settings.hooks else "/slack/…"
    return f"off, except for {served}; set API_TOKEN to serve it (docs/http.md)"


def _model(settings: Settings) -> str:
    if not settings.has_model:
        return "none: offline answers; set OPENAI_API_KEY or OPENAI_BASE_URL for a language model"
    fallback = settings.openai_fallback_model
    return settings.openai_model + (f", then {fallback}" if fallback else "")


def _platforms(settings: Settings) -> dict[str, str]:
    states = {each.info.title: each.state(settings.bot_roles) for each in settings.each_platform()}
    return {title: state for title, state in states.items() if state}


def _server(is_set: bool, variable: str, data: str) -> str:
    return variable if is_set else f"embedded, {data}; set {variable} to use your own"


def _changes(settings: Settings) -> str:
    if settings.sql_writes == "off":
        return "the database is only read; set SQL_WRITES=approval to allow changes (docs/approvals.md)"
    return "of the database: each one needs an approval"
