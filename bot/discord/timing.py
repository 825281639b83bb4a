"""Durations that the bot chooses on Discord; Discord's own are constants where they apply."""

from dataclasses import dataclass

from bot.platforms.catch_up import DEAF_SECONDS, SWEEP_SECONDS
from bot.platforms.health import FRESH_SECONDS
from bot.platforms.supervise import FIRST_DELAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations, all in seconds. Tests pass shorter ones."""

    request_timeout: float = 60.0
    """Longest time of a call, with its waits for rate limits and the requests that discord.py repeats."""

    exchange_timeout: float = 5.0
    """Longest time that Discord may take to answer one request.

    A turn is held for at least 0.4 of LEASE_SECONDS (15 by default) after `hold` has returned: a later
    request might arrive after a message of another process.
    """

    upload_timeout: float = 30.0
    """Longest time that Discord may take to accept a file.

    A late file is not shown twice: its nonce holds for minutes.
    """

    request_backoff: float = 0.5
    """About the time before a request is sent again while Discord is unreachable."""

    context_timeout: float = 10.0
    """Longest time to read one conversation that a message belongs to or links to, since a turn waits."""

    names_timeout: float = 2.0
    """Longest time to look up the names of roles and channels in earlier messages."""

    name_max_age: float = 600.0
    """Time for which such a name is reused."""

    unknown_name_max_age: float = 60.0
    """Time before a failed look-up of such a name is repeated."""

    probe_timeout: float = 2.0
    """Longest time that a health check waits for Discord's REST API."""

    probe_max_age: float = FRESH_SECONDS
    """Time for which the answer to a health check is reused."""

    step_delay: float = 0.3
    """Time after which a running tool call is shown: what ends sooner is shown with its outcome at once."""

    edit_interval: float = 1.2
    """Time between two edits in a channel: Discord takes about five in 5 s, and sends count separately."""

    part_timeout: float = 180.0
    """Time after which a part of an answer that keeps failing is replaced by a sentence."""

    refusal_interval: float = 3_600.0
    """Time in which a missing permission of a channel is told once in the same place."""

    delivery_backoff: float = 0.2
    """About the time before an event is stored again after a failure."""

    delivery_timeout: float = 60.0
    """Longest time that an event waits for a failed store; Discord never sends it again."""

    handler_grace: float = 5.0
    """Longest time that handlers continue after listening has ended: Discord sends a message only once."""

    identify_interval: float = 5.5
    """Time between two IDENTIFYs of the same key: Discord counts five seconds from their arrival."""

    identify_lease: float = 10.0
    """Time for which a turn to IDENTIFY is reserved while a connection is opened."""

    identify_poll: float = 0.5
    """Time between two attempts to take a turn to IDENTIFY."""

    gateway_max_age: float = 60.0
    """Longest time for which Discord's information about its gateway counts as recent."""

    longest_reset_wait: float = 600.0
    """Longest time before Discord is asked again whether new sessions may begin."""

    reconnect_backoff: float = FIRST_DELAY
    """Time before a shard connects again; it doubles with each failure."""

    sweep_interval: float = SWEEP_SECONDS
    """Time between two readings of the history while nothing seems missing."""

    deaf_after: float = DEAF_SECONDS
    """Age from which a message in the history counts as missed."""

    down_after: float = 60.0
    """Time without a connection after which this is more than a reconnection."""

    shard_lease: float = 15.0
    """Time after which other processes may take the shards of a process that has stopped renewing them."""

    shard_renewal: float = 5.0
    """Time between two renewals of the leases."""

    release_timeout: float = 1.0
    """Longest time to give the shards back at the end; later their leases expire."""

    presence_interval: float = 15.0
    """Time between two looks at what the presence should show; Discord takes five changes in 20 s."""

    sync_backoff: float = 5.0
    """Time before the second attempt to register the commands; it doubles with each one."""

    longest_sync_backoff: float = 3_600.0
    """Longest time between two attempts to register the commands."""
