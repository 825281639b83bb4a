"""Prefixes of the bot's own keys in Redis, which must not overlap with the prefix for users' keys.

Each key with the hash tag `{bot}` is used by one package only:

    {bot}:ready later active dead hung left seen mailbox messages joined
          partner asked early stops threads paused turn starts news
          ordered                                                         inbox (`bot.inbox.keys`)
    {bot}:limit lease group notes note votes heard                        storage.coordination
    {bot}:files file file_sizes same_file                                 storage.files
    {bot}:conversations conversation                                      storage.conversations
    {bot}:vault vault_changes                                             storage.vault
    {bot}:probe                                                           storage.client
    {bot}:rate                                                            access.rate_limits
    {bot}:channels                                                        access.channels
    {bot}:spent held holds                                                access.spending
    {bot}:approvals approval questions                                    access.requests
    {bot}:answer feedback rated                                           access.answers
    {bot}:plugin_call                                                     tools.plugins
    {bot}:filing                                                          memory.filing
"""

OWN = (
    "{bot}:",  # everything that carries the bot's hash tag
    "checkpoint",  # thread memory: checkpoint:, checkpoint_latest:; of earlier versions checkpoint_write:
    "write_keys_zset:",  # thread memory of earlier versions
    "people:",  # linked accounts
    "recall:",  # long-term memory: facts and past conversations with their owners
)
"""Prefixes of all keys; a test compares them with the keys of a running bot."""


def find_overlap(prefix: str) -> str | None:
    """Return the bot's prefix that overlaps with `prefix`, or None; an empty prefix overlaps all."""
    return next((own for own in OWN if own.startswith(prefix) or prefix.startswith(own)), None)
