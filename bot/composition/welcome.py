"""Begin of a conversation on the page: what to ask, and what to connect next."""

from dataclasses import asdict

from bot.agent.models import tour
from bot.config import Settings, connections, is_trial
from bot.http import schemas

_WITH_MODEL = (
    schemas.Suggestion(text="Which tables do you know?", shows="your data"),
    schemas.Suggestion(text="What can you help me with?", shows="an overview"),
)


def welcome(settings: Settings) -> schemas.Welcome:
    """Return what the page begins with; the questions about the sample data only if that is in use."""
    has_sample = settings.database_url is None
    can_change = settings.sql_writes != "off" or is_trial(settings)
    known = [
        each
        for each in tour.SUGGESTIONS
        if (has_sample or not each.needs_sample) and (can_change or each.tool != "sql_execute")
    ]
    suggestions = [_suggestion(each) for each in known if has_sample or not settings.has_model]
    return schemas.Welcome(
        is_demonstration=not settings.has_model,
        suggestions=suggestions or list(_WITH_MODEL),
        connections=[schemas.ServiceConnection(**asdict(each)) for each in connections(settings)],
    )


def _suggestion(question: tour.Question) -> schemas.Suggestion:
    file = question.file and schemas.SuggestedFile(name=question.file[0], text=question.file[1])
    return schemas.Suggestion(
        text=question.sentence, shows=tour.LABELS.get(question.shows, question.shows), file=file
    )
