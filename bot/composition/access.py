"""Inbox and access: who is answered where, who decides, what a channel is for."""

from dataclasses import dataclass, replace

from bot.access.answers import Answers, AnswerStore
from bot.access.channels import ChannelStore
from bot.access.control import AccessControl, build_access_control
from bot.access.requests import ApprovalRules, Moderators, QuestionRules, Requests, RequestStore
from bot.agent.memory import memory_keys
from bot.composition.storage import Storage
from bot.config import Settings, is_trial
from bot.http.callers import ApiCaller
from bot.inbox import Inbox
from bot.memory import AccountLinks


@dataclass(frozen=True, slots=True)
class Access:
    """Inbox, access control, requests to users, settings of channels, and answers with their buttons."""

    control: AccessControl
    channels: ChannelStore
    account_links: AccountLinks
    inbox: Inbox
    requests: Requests
    answers: Answers
    shows_buttons: bool


def build_access(settings: Settings, storage: Storage) -> Access:
    channels = ChannelStore(storage.redis, settings.channel_defaults, settings.channel_models)
    store, account_links = RequestStore(storage.redis), AccountLinks(storage.redis)
    approvers = frozenset({ApiCaller().author}) if is_trial(settings) else settings.who_approves
    moderators = Moderators(settings.admin_users, approvers, store)
    inbox = Inbox(
        storage.redis,
        name=storage.process,
        follow_days=settings.thread_ttl_days,
        stop_policy=moderators,
        channels=channels,
        first_reads=memory_keys if settings.enable_memory else lambda _: (),
    )
    control = build_access_control(settings, storage.redis, storage.fenced_redis)
    approvals = ApprovalRules(
        approvers,
        settings.approval_hours,
        settings.approval_four_eyes,
        account_links.authors,
    )
    questions = QuestionRules(settings.question_hours, control.allow_list)
    requests = Requests(store, inbox, approvals, questions, moderators)
    answers = Answers(
        AnswerStore(storage.redis),
        inbox,
        control.allow_list,
        store,
        control.budget,
        settings.currency if settings.model_prices else None,
    )
    if control.usage and settings.answer_buttons:
        control = replace(control, usage=replace(control.usage, feedback=answers.store.count))
    return Access(control, channels, account_links, inbox, requests, answers, settings.answer_buttons)
