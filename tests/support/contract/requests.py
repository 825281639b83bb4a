"""Stories about what the agent asks of users: approvals and questions."""

import re

from tests.support.approvals import ASK, TAKE, TAKEN, UNTOUCHED, request_in, tool_results
from tests.support.contract.feature import Feature
from tests.support.contract.place import Place, Shown, answer
from tests.support.questions import asking


async def _request(place: Place, *after: str) -> Shown:
    """Let the agent request a change; return the request."""
    await place.shelf.fill()
    place.model.script(ASK, *after)
    await place.ask("take one of each")
    shown = await answer(place, TAKE, "2 rows of shelf")
    assert await place.shelf.stock() == UNTOUCHED
    assert {"Approve", "Reject"} <= {*shown.buttons}
    return shown


def _now(place: Place, id: str) -> Shown:
    return next(each for each in place.shown() if each.id == id)


async def approved(place: Place) -> None:
    """The exact statement is shown, and runs once; the request then says who has decided."""
    request = await _request(place, "Done.")
    await place.press("bob", "Approve")
    await answer(place, "Done.")
    assert await place.shelf.stock() == TAKEN
    decided = _now(place, request.id)
    assert "Approved" in decided.text
    assert not {"Approve", "Reject"} & {*decided.buttons}


async def rejected(place: Place) -> None:
    request = await _request(place, "Then I leave it.")
    await place.press("bob", "Reject")
    await answer(place, "Then I leave it.")
    assert "Rejected" in _now(place, request.id).text
    assert await place.shelf.stock() == UNTOUCHED


async def stranger(place: Place) -> None:
    """A user who cannot approve is told so privately, and the request waits."""
    request = await _request(place, "Then I leave it.")
    told = await place.press("alice", "Approve")
    assert "approve" in told.lower()
    assert await place.shelf.stock() == UNTOUCHED
    assert "Approve" in _now(place, request.id).buttons
    await place.press("bob", "Reject")
    await answer(place, "Then I leave it.")


async def typed(place: Place) -> None:
    request = await _request(place, "Done.")
    await place.say("bob", f"approve {request_in(await _request_text(place, request))}")
    await answer(place, "Done.")
    assert await place.shelf.stock() == TAKEN


async def _request_text(place: Place, request: Shown) -> str:
    return re.sub(r"[`*]", "", request.text)


async def option(place: Place) -> None:
    """Only the user who is asked can choose."""
    place.model.script(asking(), "Pears it is.")
    await place.ask("buy fruit")
    question = await answer(place, "fruit")
    assert question.pings == ["alice"]
    assert "This question is for" in await place.press("bob", "Apples")
    assert "Your answer: Pears" in await place.press("alice", "Pears")
    await answer(place, "Pears it is.")
    assert tool_results(place.model) == ["The user has chosen: Pears"]
    assert "answered: Pears" in _now(place, question.id).text


async def menu(place: Place) -> None:
    options = [f"Number {number}" for number in range(25)]
    place.model.script(asking(options=options), "The last one.")
    await place.ask("choose")
    await answer(place, "fruit")
    await place.press("alice", options[24])
    await answer(place, "The last one.")


async def words(place: Place) -> None:
    place.model.script(asking(), "Plums, then.")
    await place.ask("buy fruit")
    question = await answer(place, "fruit")
    await place.say("alice", "neither, plums please")
    await answer(place, "Plums, then.")
    assert "answered: neither, plums please" in _now(place, question.id).text


REQUESTS = (
    Feature("Approval", "press *Approve* below the exact statement: it runs once", approved),
    Feature("Rejection", "press *Reject*: nothing runs", rejected),
    Feature("Who can approve", "read privately that they cannot, if they are no approvers", stranger),
    Feature("Decision in words", "write `approve 7f3a9c21`", typed),
    Feature("Question", "press one of up to five options; nobody else can", option),
    Feature("Question with a menu", "choose from up to 25 options", menu),
    Feature("Answer in words", "write an answer instead", words),
)
