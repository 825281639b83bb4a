"""How many shards each of several processes holds. Pure."""

from collections.abc import Sequence


def fair_share(count: int, loads: Sequence[int], place: int) -> int:
    """How many of `count` shards the process at `place` may hold while the processes hold `loads`.

    All may hold the same number, and so many of them one more as are left over: those that have one more
    already keep it, so that nothing moves without need.
    """
    least, left_over = divmod(count, len(loads))
    laden = [each for each, load in enumerate(loads) if load > least]
    has_more = place in laden[:left_over] if place in laden else len(laden) < left_over
    return least + has_more
