"""Editing what a recorded agent asked: typed as its tool list says, and nothing that the agent gave gets lost."""

from html import unescape
from typing import Any

import pytest
from django.test import Client

from agents import errors
from agents.models import User
from approvals import fields, recorded
from approvals.models import Approval, Decision
from tests import factories
from tests.approvals import questions
from tests.posting import Browser

SEAT: dict[str, Any] = {
    "type": "object",
    "properties": {"booking": {"type": "string"}, "bags": {"type": "integer"}},
    "required": ["booking"],
}
GIVEN = {"booking": "K7", "bags": 2, "flights": [{"number": "H4"}], "note": "window"}


def asked(schema: Any) -> Approval:
    """A booking that was recorded, of a tool whose list gave this schema."""
    agent = factories.agent("desk")
    agent.release = factories.release(
        agent, program="recorded", tool_schemas={"book": {"schema": schema, "writes": True}}
    )
    agent.save(update_fields=["release"])
    return questions.held(questions.run(agent), name="book", arguments=GIVEN, says="Book: booking K7")


def test_fields_are_typed_by_the_list_and_what_it_does_not_know_by_what_was_given(team: Any) -> None:
    approval = asked(SEAT)
    kinds = {one.name: one.kind for one in fields.of(recorded.shape(approval, GIVEN), GIVEN)}
    assert kinds == {"booking": "text", "bags": "whole", "flights": "json", "note": "text"}


@pytest.mark.parametrize("schema", [{}, {"type": "elephant"}, {"properties": {"bags": {"$ref": "http://x/y"}}}, ["no"]])
def test_a_list_that_gives_no_sound_schema_is_not_followed(team: Any, schema: Any) -> None:
    kinds = {one.name: one.kind for one in fields.of(recorded.shape(asked(schema), GIVEN), GIVEN)}
    assert kinds == {"booking": "text", "bags": "number", "flights": "json", "note": "text"}


def test_the_form_of_the_page_changes_one_argument_and_keeps_the_others(team: Any, rhea: User) -> None:
    approval, browser = asked(SEAT), Browser(rhea)
    page = f"/approvals/{approval.pk}/"
    assert recorded.ENDS_HERE in unescape(browser.read(page))
    form = browser.form(page, "/decision/")
    assert form.values("answer") == ["approve", "edit", "reject"]  # no agent is there to be asked anything
    wrong = form.submit(answer="edit", argument__bags="many")
    assert (wrong.status_code, Decision.objects.count()) == (422, 0)
    assert "it takes a whole number" in unescape(wrong.content.decode())
    assert form.submit(answer="edit", argument__bags="1").status_code == 302
    assert Decision.objects.get().arguments == GIVEN | {"bags": 1}


def test_a_tool_that_is_gone_has_no_form(team: Any, rhea: User, client: Client) -> None:
    approval = questions.held(name="once.here")
    client.force_login(rhea)
    assert 'value="edit"' not in client.get(f"/approvals/{approval.pk}/").content.decode()
    given = {"answer": "edit", "request_id": "5e0f4a6e-0000-4000-8000-000000000001", "place": "page"}
    assert client.post(f"/approvals/{approval.pk}/decision/", given).status_code == errors.Invalid.status
