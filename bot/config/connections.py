"""Services that an operator can connect, and how: for the start summary and the page. Pure."""

from dataclasses import dataclass

from bot.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Connection:
    """Service with its state; `advice` names the variables that connect it, and the document about it."""

    name: str
    title: str
    is_connected: bool
    advice: str


def connections(settings: Settings) -> list[Connection]:
    """Return the services, the most useful one first; values of settings are not in it."""
    chats = [
        Connection(each.info.name, each.info.title, each.is_configured, each.advice)
        for each in settings.each_platform()
        if not each.is_always_on
    ]
    return [
        Connection(
            "model",
            "Language model",
            settings.has_model,
            "set OPENAI_API_KEY or OPENAI_BASE_URL (docs/models.md)",
        ),
        *chats,
        Connection(
            "database",
            "Your own database",
            settings.database_url is not None,
            "set DATABASE_URL (docs/database.md)",
        ),
    ]


def is_trial(settings: Settings) -> bool:
    """Return whether one person tries the bot on this machine: with the sample data, no token, no service.

    Only then changes are on by default, each with an approval: they reach nothing but the sample data.
    Without a token the page is served to this machine only (`bot.http.auth.check_exposure`).
    """
    is_open = any(each.is_configured for each in settings.each_platform())
    is_chosen = (
        "sql_writes" in settings.model_fields_set
        or bool(settings.who_approves)
        or settings.approval_four_eyes
    )
    return settings.database_url is None and not is_open and not is_chosen
