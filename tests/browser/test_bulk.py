"""Deciding many by keys alone: out of a group, and all that a filter matches; what is left stays selected."""

import pytest
from playwright.sync_api import Locator, Page, expect

from agents.models import Run, Team, User
from approvals import claiming
from approvals.models import Approval, Decision
from tests import factories
from tests.approvals import questions

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def alike(run: Run, number: int) -> list[Approval]:
    """Refunds of one model step, each of another order."""
    numbers = range(2, 2 + number)
    return [questions.held(run, seq=seq, arguments={"order": str(4700 + seq), "amount": "9.00"}) for seq in numbers]


@pytest.fixture
def group(team: Team) -> list[Approval]:
    """Five alike refunds, the fourth held by somebody else; one too risky to stand with them; two of another agent."""
    members = alike(questions.run(), 5)
    claiming.claim(members[3], by=factories.person("teo", "reviewer", of=team))
    red = questions.held(questions.run(), says="Refund €9,000.00 to Bar Nord")
    Approval.objects.filter(pk=red.pk).update(zone="red")
    alike(questions.run(factories.agent("kiosk")), 2)
    return members


@pytest.fixture
def queue(page: Page, sign_in, rhea: User, group: list[Approval]) -> Page:
    sign_in(rhea)
    page.goto("/approvals/")
    listens(page)
    return page


def listens(page: Page) -> None:
    """A page that has just been opened answers to keys once its scripts are there."""
    expect(page.locator("#live")).to_have_text("live", timeout=15_000)


def go_to(page: Page, place: Locator) -> None:
    """Tab until the keyboard stands there."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if place.evaluate("(one) => one === document.activeElement"):
            return
    pytest.fail(f"{place} cannot be reached by keyboard.")


def test_a_group_is_decided_in_one_act_and_what_is_left_stays_selected(queue: Page, group: list[Approval]) -> None:
    queue.keyboard.press("j")
    queue.keyboard.press("Enter")
    boxes = queue.locator("[data-group] [name=id]")
    expect(boxes.first).to_be_focused()
    assert queue.evaluate("document.documentElement.scrollHeight <= innerHeight"), "list and group scroll, not the page"
    queue.keyboard.press("Escape")
    expect(queue.locator("#queue .entry a").first).to_be_focused()
    queue.keyboard.press("Enter")
    expect(boxes.first).to_be_focused()
    expect(queue.locator("[data-act]")).to_contain_text("Decide the 5 ticked")
    queue.keyboard.press("j")  # the keys move in the group now
    queue.keyboard.press("x")
    expect(boxes.nth(1)).not_to_be_checked()
    expect(queue.locator("[data-act]")).to_contain_text("Decide the 4 ticked")
    queue.keyboard.press("1")
    expect(queue.get_by_label("Reason")).to_be_focused()
    queue.keyboard.type("The recall is announced.")
    queue.keyboard.press("Control+Enter")
    expect(queue.get_by_role("heading", name="Approved 3 of 4; 1 left as it was.")).to_be_visible()
    expect(queue.get_by_text("1 × teo holds this")).to_be_visible()
    expect(queue.get_by_role("link", name="Back to the 1 left, still selected")).to_be_focused()
    queue.keyboard.press("Enter")
    expect(queue.locator("#queue .entry")).to_have_count(1)
    expect(queue.locator("#queue [name=id]")).to_be_checked()
    expect(queue.locator("[data-picked]")).to_have_text("1 selected")
    given = Decision.objects.order_by("approval__seq").values_list("approval", "answer", "reason")
    assert list(given) == [(group[at].pk, "approve", "The recall is announced.") for at in (0, 2, 4)]


def test_high_risk_is_refused_and_all_that_match_a_filter_are_rejected_with_a_code(queue: Page) -> None:
    queue.keyboard.press("j")
    queue.keyboard.press("j")
    queue.keyboard.press("Enter")
    expect(queue.locator(".question h2")).to_have_text("Refund €9,000.00 to Bar Nord")
    listens(queue)
    queue.keyboard.press("x")  # looking at one does not lose one's place
    expect(queue.locator("[data-picked]")).to_have_text("1 selected")
    queue.keyboard.press("b")
    expect(queue.get_by_text("1 × It is in the red zone; high risk is never decided in bulk.")).to_be_visible()
    expect(queue.locator("[data-act]")).to_have_count(0)
    listens(queue)
    queue.keyboard.press("Escape")
    go_to(queue, queue.get_by_role("link", name="kiosk", exact=True))
    queue.keyboard.press("Enter")
    expect(queue.locator("#queue .entry")).to_have_count(1)
    listens(queue)
    queue.keyboard.press("B")
    expect(queue.get_by_role("heading", name="2 requests together")).to_be_visible()
    listens(queue)
    queue.keyboard.press("2")
    expect(queue.get_by_label("Why", exact=True)).to_be_focused()
    queue.keyboard.press("w")  # the first that begins so
    expect(queue.get_by_label("Why", exact=True)).to_have_value("wrong_target")
    queue.keyboard.press("Tab")
    queue.keyboard.type("It is not their order.")
    queue.keyboard.press("Control+Enter")
    expect(queue.get_by_role("heading", name="Rejected 2 of 2.")).to_be_visible()
    assert set(Decision.objects.values_list("answer", "code")) == {("reject", "wrong_target")}
    queue.keyboard.press("Enter")  # on with the queue
    expect(queue.locator("#queue .entry")).to_have_count(2)
