"""Durations that the bot chooses on Slack; Slack's own are constants where they apply."""

from dataclasses import dataclass

from bot.platforms.catch_up import DEAF_SECONDS, SWEEP_SECONDS
from bot.platforms.health import FRESH_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations, all in seconds. Tests pass shorter ones."""

    request_timeout: float = 20.0
    """Longest time of one request. slack-sdk ignores its own `timeout` when the session is shared."""

    request_grace: float = 3.0
    """Longest time that a cancelled request continues, so that the next attempt finds its message."""

    longest_rate_limit: float = 10.0
    """Longest time that a write waits for a rate limit: a longer one ends this attempt, and other turns run
    in the meantime."""

    part_timeout: float = 300.0
    """Time after which a part of an answer that keeps failing is replaced by a sentence."""

    stream_max_age: float = 240.0
    """Time after which an answer continues in a new message. Slack ends a stream about 300 s after its start,
    even while it is in use: https://github.com/slackapi/python-slack-sdk/issues/1859"""

    flush_interval: float = 1.0
    """Least time between two appends to a stream; twice as long while little text waits."""

    edit_interval: float = 1.2
    """Least time between two edits of an answer that grows by edits."""

    close_timeout: float = 5.0
    """Longest time to end the stream of a failed answer; otherwise the next attempt ends it."""

    ack_timeout: float = 2.0
    """Time after which a command is acknowledged without its answer, which is sent later: Slack waits 3 s."""

    button_timeout: float = 1.5
    """Time after which a button is acknowledged, even if the answer is not sent yet: Slack waits 3 s."""

    prompts_max_age: float = 600.0
    """Time for which suggested prompts that a user was shown are not shown again when the user comes back."""

    prompts_timeout: float = 5.0
    """Longest time to look for a user's topics; then the usual prompts are shown."""

    app_context_max_age: int = 600
    """Time for which the bot remembers what a user has open in Slack, if they write nothing."""

    app_context_timeout: float = 2.0
    """Longest time to find out whether a user can read the channel that they have open: a turn waits."""
    block_refusal: float = 6 * 3_600.0
    """Time for which a kind of block that a workspace has refused is not tried there again."""

    home_max_age: float = 30.0
    """Time for which a Home tab that was shown is not read again when its user opens it."""

    author_timeout: float = 1.0
    """Longest time that a message waits for details of its author: Slack waits 3 s."""

    names_timeout: float = 2.0
    """Longest time that a text or a passage waits for names: of many, some come after others."""

    author_max_age: float = 600.0
    """Time for which details of an author are reused."""

    unknown_author_max_age: float = 60.0
    """Time before a failed look-up of an author is repeated."""

    author_retry_interval: float = 3_600.0
    """Time before any author is looked up again after the token was refused: a scope is missing."""

    context_timeout: float = 10.0
    """Longest time to read one conversation that a message belongs to or links to, since a turn waits."""

    memberships_max_age: float = 60.0
    """Time for which the list of a user's channels is reused."""

    audience_timeout: float = 5.0
    """Longest time to look up the audience of a channel, since a turn waits for it."""

    audience_max_age: float = 600.0
    """Time for which the audience of a channel is reused."""

    unknown_audience_max_age: float = 30.0
    """Time before a failed look-up of an audience is repeated."""

    status_delay: float = 0.02
    """Time after which the status is shown: the first text of a quick answer comes before it. With 0, the
    answer waits until it is shown."""

    step_delay: float = 0.3
    """Time after which a running tool call is named, even if the answer was shown a moment ago: what ends
    sooner is shown with what follows."""

    line_max_age: float = 100.0
    """Time after which the line that names a tool call is shown again: Slack removes it after two minutes."""

    replay_timeout: float = 1.0
    """Longest time that the cards of an attempt that died wait for the agent, which repeats their steps."""

    status_timeout: float = 2.0
    """Longest time to show the status, which an answer does not depend on."""

    status_end_timeout: float = 75.0
    """Longest time to clear the status. This may wait for the next minute's calls, because a session that is
    not ended looks busy for an hour."""

    session_retry_interval: float = 3_600.0
    """Time before a workspace without sessions is tried again: it may get them, or the app the permission."""

    installation_max_age: float = 2.0
    """Time for which another process may still use an installation that has changed."""

    organisation_max_age: float = 600.0
    """Time after which the list of an organisation's workspaces is read again."""

    organisation_min_age: float = 15.0
    """Time after which it is read again for a workspace that is not in it."""

    token_reserve: float = 7_200.0
    """Time before the end of a token at which the next one is requested: tokens live twelve hours."""

    token_retry_interval: float = 60.0
    """Time before a failed request for the next token is repeated."""

    state_max_age: float = 600.0
    """Time in which a user can complete an installation in the browser."""

    connect_timeout: float = 30.0
    """Longest time to open the sockets."""

    ping_interval: float = 5.0
    """Time between two pings of a socket."""

    socket_check_interval: float = 15.0
    """Time between two checks of the sockets."""

    down_after: float = 60.0
    """Time without an open socket after which all are opened again."""

    sweep_interval: float = SWEEP_SECONDS
    """Time between two readings of the history while nothing seems missing."""

    deaf_after: float = DEAF_SECONDS
    """Age from which a message in the history counts as missed."""

    probe_timeout: float = 2.0
    """Longest time that a health check waits for Slack's Web API."""

    probe_max_age: float = FRESH_SECONDS
    """Time for which the answer to a health check is reused."""
