"""Deciding as reviewers do it: by keys alone, on a phone, while others decide too."""

import pytest
from playwright.sync_api import Page, expect

from agents.contracts import UNKNOWN
from agents.models import User
from approvals import claiming
from approvals.models import Approval, Decision
from cockpit import live
from tests import factories
from tests.approvals import questions
from tests.browser.conftest import PHONE

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def inbox(page, sign_in, rhea: User) -> Page:
    """The inbox of a reviewer with a refund, a letter, a doubt and a refund of her own to look at."""
    sign_in(rhea)
    questions.held(seq=4, name="payments.refund", arguments={"order": 4711, "amount": "184.00"})
    questions.held(seq=5, tier=4, name="test.letter", arguments={"text": "Sorry."}, says="Send a letter", preview=())
    questions.doubted(questions.run(factories.agent("dispatch")), says="Book a pickup", confidence=UNKNOWN)
    questions.held(questions.run(started_by=rhea), seq=7, says="Refund €92.00 to Bar Nord")
    page.goto("/approvals/")
    expect(page.locator("#live")).to_have_text("live", timeout=15_000)
    return page


def test_a_reviewer_works_through_the_queue_by_keys_alone(inbox: Page, rhea: User):
    expect(inbox.locator(".question h2")).to_have_text("Refund €184.00 to Café Lindenhof")
    inbox.keyboard.press("1")
    expect(inbox.get_by_label("Reason")).to_be_focused()
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator(".question h2")).to_have_text("Send a letter")
    inbox.keyboard.press("1")
    expect(inbox.locator("[name=outcome]")).to_be_focused()
    inbox.keyboard.type("Posted today.")
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator(".question h2")).to_have_text("Book a pickup")
    inbox.keyboard.press("3")
    expect(inbox.get_by_label("Reason")).to_be_focused()
    inbox.keyboard.press("Control+Enter")  # the browser asks for the reason first
    expect(inbox.locator(".question h2")).to_have_text("Book a pickup")
    inbox.keyboard.type("The carrier does not know.")
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator(".question h2")).to_have_text("Refund €92.00 to Bar Nord")
    expect(inbox.get_by_text("You started this run; somebody else decides")).to_be_visible()
    inbox.keyboard.press("1")
    expect(inbox.locator(".question [data-act]")).to_be_disabled()
    given = list(Decision.objects.order_by("at").values_list("answer", "reason", "outcome"))
    assert given == [
        ("approve", "", None),
        ("outcome", "", {"outcome": "Posted today."}),
        ("reject", "The carrier does not know.", None),
    ]


def test_arguments_are_edited_field_by_field_by_keys_alone(inbox: Page):
    inbox.keyboard.press("2")
    expect(inbox.get_by_label("order")).to_be_focused()
    inbox.keyboard.press("Tab")
    amount = inbox.get_by_label("amount")
    expect(amount).to_be_focused()
    expect(amount).to_have_value("184.00")
    expect(amount).to_have_accessible_description("was 184.00")
    amount.fill("a lot")
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator(".answers .error")).to_contain_text("Amount is")
    expect(amount).to_have_attribute("aria-invalid", "true")
    amount.fill("92.00")
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator(".question h2")).to_have_text("Send a letter")
    assert Decision.objects.get().arguments == {"order": 4711, "amount": "92.00"}


def test_an_act_is_rejected_with_a_code_by_keys_alone(inbox: Page):
    inbox.keyboard.press("3")
    code = inbox.get_by_label("Why", exact=True)
    expect(code).to_be_focused()
    inbox.keyboard.type("Wrong a")
    expect(code).to_have_value("wrong_amount")
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator(".question h2")).to_have_text("Send a letter")
    assert Decision.objects.get().code == "wrong_amount"


def test_the_agent_is_asked_back_by_keys_alone(inbox: Page):
    inbox.keyboard.press("4")
    expect(inbox.get_by_label("Reason")).to_be_focused()
    inbox.keyboard.press("Control+Enter")  # the browser asks for the question first
    expect(inbox.locator(".question h2")).to_have_text("Refund €184.00 to Café Lindenhof")
    inbox.keyboard.type("Why all of it?")
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator(".question h2")).to_have_text("Send a letter")
    assert Approval.objects.get(seq=4).closed_because == "Asked back: Why all of it?"


def test_what_somebody_else_decides_is_seen_at_once_and_a_late_click_is_told(inbox: Page):
    approval = Approval.objects.get(seq=4)
    teo = factories.person("teo", "reviewer", of=approval.team)
    inbox.locator(".choice.reject").click()  # in the middle of it, with the cursor in the reason
    inbox.get_by_label("Reason").fill("No.")
    while not Approval.objects.filter(seq=4, claimed_by__isnull=False).exists():  # choosing an answer claims it
        inbox.wait_for_timeout(50)
    claiming.claim(approval, by=teo, reason="It is my customer.")
    questions.settle(approval, by=teo)
    live._announcer.flush()
    expect(inbox.locator("#queue a")).to_have_count(3)
    inbox.keyboard.press("Control+Enter")
    expect(inbox.locator("#toasts")).to_contain_text("Approved by teo")
    inbox.get_by_label("Reason").blur()
    expect(inbox.locator(".question footer")).to_contain_text("Approved by teo", timeout=10_000)
    expect(inbox.locator(".question [name=answer]")).to_have_count(0)
    assert Decision.objects.get().by == teo


def test_a_new_question_appears_without_reloading(inbox: Page):
    questions.held(questions.run(factories.agent("kiosk")), seq=9, says="Refund €1.00 to Kiosk Süd")
    live._announcer.flush()
    expect(inbox.locator("#queue")).to_contain_text("Kiosk Süd")
    expect(inbox.locator(".rail .count")).to_have_text("5")


def test_on_a_phone_one_question_leads_to_the_next(inbox: Page):
    inbox.set_viewport_size(PHONE)
    inbox.locator("#queue a", has_text="Send a letter").click()
    expect(inbox.locator("#queue")).to_be_hidden()
    inbox.locator(".choice.outcome").click()
    inbox.locator("[name=outcome]").fill("Posted.")
    inbox.locator(".question [data-act]").click()
    expect(inbox.locator(".question h2")).to_have_text("Book a pickup")
    inbox.get_by_role("link", name="All questions").click()
    expect(inbox.locator("#queue")).to_be_visible()


def test_every_page_about_approvals_is_fit_for_everyone(inbox: Page, rhea: User, tidy):
    tidy()
    for approval in Approval.objects.order_by("seq"):
        inbox.goto(f"/approvals/{approval.pk}/")
        tidy()
    refund = Approval.objects.get(seq=4)
    inbox.goto(f"/approvals/{refund.pk}/")
    inbox.keyboard.press("2")
    tidy()
    questions.settle(refund, by=rhea, answer="edit", arguments={"order": 4711, "amount": "92.00"})
    for path in (f"/approvals/{refund.pk}/", "/approvals/?state=all", "/approvals/?state=expired"):
        inbox.goto(path)
        tidy()


def test_the_page_works_without_script(chromium, site: str, rhea: User, sign_in, page: Page):
    approval = questions.held()
    sign_in(rhea)
    state = page.context.storage_state()
    with chromium.new_context(base_url=site, java_script_enabled=False, storage_state=state) as context:
        bare = context.new_page()
        bare.goto("/approvals/")
        bare.locator(".choice.approve").click()
        bare.locator(".question [data-act]").click()
        expect(bare.get_by_text("Nobody waits for you")).to_be_visible()
    assert questions.step_of(approval).answer["kind"] == "approved"
