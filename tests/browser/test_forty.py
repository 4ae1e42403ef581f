"""A reviewer works through forty mixed requests by keys alone, reading each; three of them are wrong and are found."""

import re

import pytest
from playwright.sync_api import Page, expect

from agents.models import User
from approvals.models import Approval, Decision
from tests import factories
from tests.approvals import questions

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

REQUESTS, WRONG = 40, frozenset({7, 18, 33})


def ask(number: int) -> Approval:
    """An act, an act that a person does, or one in doubt; a wrong one changes another order than it names."""
    order = f"{4700 + number}"
    changed = f"{4800 + number}" if number in WRONG else order
    run = questions.run(factories.agent(f"clerk-{number}"))
    fields = {
        "arguments": {"order": order, "amount": "18.40"},
        "preview": ({"what": f"order {changed} paid", "before": "€18.40", "after": "€0.00"},),
        "says": f"Refund €18.40 for order {order}",
    }
    if number % 5 == 3 and number not in WRONG:
        return questions.held(run, tier=4, **fields)
    if number % 5 == 4 and number not in WRONG:
        return questions.doubted(run, **fields)
    return questions.held(run, **fields)


def order_in(text: str) -> str:
    found = re.search(r"order\D*(\d{4})", text)
    assert found, text
    return found[1]


def answer(page: Page) -> str:
    """Read what is asked and answer it: what is changed must be what is named."""
    question = page.locator(".question")
    named = order_in(question.locator("h2").inner_text())
    facts = question.locator(".facts").inner_text()
    if f"order {named} paid" not in facts:
        page.keyboard.press(question.locator(".choice.reject kbd").inner_text())
        expect(question.get_by_label("Why", exact=True)).to_be_focused()
        page.keyboard.type("Wrong t")
        page.keyboard.press("Tab")
        page.keyboard.type("Another order than the one it names.")
    elif "does it and posts the outcome" in facts or "Look it up where it would have happened" in facts:
        page.keyboard.press("1")
        expect(question.locator("[name=outcome]")).to_be_focused()
        page.keyboard.type("Done by hand.")
    else:
        page.keyboard.press("1")
        expect(question.get_by_label("Reason")).to_be_focused()
    page.keyboard.press("Control+Enter")
    return named


def test_forty_mixed_requests_by_keys_alone(page: Page, sign_in, rhea: User) -> None:
    for number in range(REQUESTS):
        ask(number)
    sign_in(rhea)
    page.goto("/approvals/")
    expect(page.locator("#live")).to_have_text("live", timeout=15_000)
    seen = []
    for left in range(REQUESTS, 0, -1):
        expect(page.locator("#queue .entry")).to_have_count(left, timeout=15_000)
        heading = page.locator(".question h2")
        named = answer(page)
        seen.append(named)
        if left > 1:
            expect(heading).not_to_contain_text(named, timeout=15_000)
    expect(page.get_by_text("Nobody waits for you")).to_be_visible(timeout=15_000)
    assert len(set(seen)) == REQUESTS  # each once, none lost
    assert not Approval.objects.open().exists()
    assert Decision.objects.count() == REQUESTS
    rejected = Decision.objects.filter(answer="reject").values_list("approval__arguments__order", flat=True)
    assert sorted(rejected) == [f"{4700 + number}" for number in sorted(WRONG)]
    assert not Approval.objects.filter(state="approved", arguments__order__in=rejected).exists()
