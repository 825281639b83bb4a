"""Sentences about changes of the database, for approvers and users; not the results for the model."""

from bot.chat.text import count

TITLE = "Change the database"

NOT_CARRIED_OUT = "The approved change was not carried out."


def would_add(rows: int, table: str, untried: str) -> str:
    """Return the effect of an insertion; `untried` is the reason why it was not tried, if there is one."""
    return _effect(f"It would add {count(rows, 'row')} to {table}.", untried)


def would_delete(rows: int, table: str, untried: str) -> str:
    """Return the effect of a deletion, as `would_add`."""
    return _effect(f"It would delete {count(rows, 'row')} of {table}.", untried)


def would_change(rows: int, table: str, untried: str) -> str:
    """Return the effect of an update, as `would_add`."""
    return _effect(f"It would change {count(rows, 'row')} of {table}.", untried)


def many_rows(most: int) -> str:
    """Return the reason why a change of more rows is not tried."""
    return f"it changes more than {count(most, 'row')}"


OWN_CODE = "it uses functions, operators or types of the database's own"

UNTRIED = {
    "runs_triggers": "triggers or rules of the table run with it",
    "reaches_others": "rows of other tables are deleted or changed with it",
    "is_hidden": "it depends on rows that the reading role may not see",
    "runs_functions": "its tables have types, constraints or defaults with functions of their own",
}
"""Further reasons why a change is not tried, by what its table has."""


def _effect(sentence: str, untried: str) -> str:
    return f"{sentence} It was not tried beforehand: {untried}." if untried else sentence


def carried_out(rows: int) -> str:
    """Return the outcome of a change that was made, though its answer ended early."""
    return f"The approved change was carried out: {count(rows, 'row')}."


def outcome_unknown(ledger: str, request: str) -> str:
    """Return the outcome of a change while the database cannot be reached."""
    return f"The table {ledger} tells whether the approved change was made (request {request})."
