"""People and runs: starting one, watching it live, pausing, resuming, cancelling, approving, rejecting, freezing."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.living.conftest import Cockpit, Sit, sign_in

pytestmark = pytest.mark.browser
SOON = 20_000  # milliseconds: what a loaded machine may take for what takes one second on a quiet one


def start(page: Page, agent: str, objective: str, facts: str = "") -> str:
    """Start a run by the form; answers its address."""
    page.goto(f"/runs/new/?agent={agent}")
    page.get_by_label("Objective").fill(objective)
    if facts:
        page.get_by_label("Facts").fill(facts)
    page.get_by_role("button", name="Start the run").click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}/$"))
    return page.url


def state(page: Page) -> str:
    """The selector of the state at the top of a run's page."""
    return "#controls > .state"


def step_in(page: Page, act: str, reason: str) -> None:
    """Press one of the controls, say why, and confirm."""
    page.locator("#controls").get_by_role("button", name=f"{act}…").click()
    dialog = page.get_by_role("dialog", name=f"{act} this run")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=act, exact=True).click()
    expect(dialog).to_be_hidden()


def is_unmoved(page: Page) -> bool:
    """Whether this is still the page on which the mark was left."""
    return bool(page.evaluate("window.mark === 'here'"))


def test_signing_in_says_what_was_wrong_and_goes_where_one_wanted(sit: Sit) -> None:
    page = sit("", "/runs/?q=state:failed")
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill("guess")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    sign_in(page, "olga")
    page.wait_for_url(re.compile(r"/runs/\?q="))
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")


def test_a_run_is_started_and_watched_to_its_end_without_reloading(sit: Sit) -> None:
    page = sit("olga")
    start(page, "clerk", "Where is order 4711?")
    page.evaluate("window.mark = 'here'")
    expect(page.locator(state(page))).to_have_text("Completed", timeout=SOON)
    expect(page.locator("#standing")).to_contain_text("Order 4711 is on its way to Café Lindenhof.")
    expect(page.locator(".story li")).to_contain_text(
        ["Started by olga.", "Let me look at that order.", "Used bakery.look (order 4711)", "Answered:", "Completed."]
    )
    expect(page.get_by_text("simulated model").first).to_be_visible()
    assert is_unmoved(page)


def test_pausing_keeps_the_place_and_resuming_goes_on(sit: Sit) -> None:
    page = sit("olga")
    start(page, "baker", "Bake a loaf", '{"seconds": 0.8}')
    expect(page.locator("#standing")).to_contain_text("At work", timeout=SOON)
    step_in(page, "Pause", "the oven is dirty")
    expect(page.locator(state(page))).to_have_text("Paused", timeout=SOON)
    expect(page.locator("#standing")).to_contain_text("Paused by olga")
    expect(page.locator("#standing")).to_contain_text("“the oven is dirty”")
    page.locator("#controls").get_by_role("button", name="Resume").click()
    expect(page.locator(state(page))).to_have_text("Completed", timeout=SOON)
    expect(page.locator(".story li.person")).to_have_text([re.compile("paused it"), re.compile("let it go on")])


def test_cancelling_aborts_what_is_in_flight_at_once(sit: Sit) -> None:
    page = sit("olga")
    start(page, "baker", "Bake forever", '{"seconds": 600}')
    expect(page.locator("#standing")).to_contain_text("At work, 2 steps done", timeout=SOON)
    step_in(page, "Cancel", "nobody ordered it")
    expect(page.locator(state(page))).to_have_text("Cancelled", timeout=SOON)
    expect(page.locator("#standing")).to_contain_text("Cancelled by olga")
    expect(page.locator(".story")).to_contain_text("cancelled it: “nobody ordered it”")
    expect(page.locator("#controls").get_by_role("button")).to_have_count(0)  # nothing more will happen to it


def test_a_dialog_stays_while_the_run_goes_on_beneath_it(sit: Sit) -> None:
    page = sit("olga")
    start(page, "baker", "Bake while somebody thinks", '{"seconds": 0.7}')
    expect(page.locator("#standing")).to_contain_text("At work", timeout=SOON)
    page.locator("#controls").get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog", name="Cancel this run")
    dialog.get_by_label("Reason").fill("half a sent")
    expect(page.locator(".story")).to_contain_text("Completed.", timeout=SOON)
    expect(dialog.get_by_label("Reason")).to_have_value("half a sent")
    dialog.get_by_role("button", name="Cancel", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("can no longer be cancelled")
    dialog.get_by_role("button", name="Keep as it is").click()
    expect(page.locator(state(page))).to_have_text("Completed", timeout=SOON)


def test_two_presses_are_one_act(sit: Sit) -> None:
    page = sit("olga")
    start(page, "baker", "Bake twice pressed", '{"seconds": 600}')
    expect(page.locator("#standing")).to_contain_text("At work", timeout=SOON)
    page.locator("#controls").get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog", name="Cancel this run")
    dialog.get_by_label("Reason").fill("pressed twice")
    dialog.get_by_role("button", name="Cancel", exact=True).dblclick()
    expect(page.locator(state(page))).to_have_text("Cancelled", timeout=SOON)
    expect(page.locator(".story").get_by_text("“pressed twice”")).to_have_count(1)
    expect(page.locator("#toasts .state.bad")).to_have_count(0)


def test_approving_by_keys_alone_lets_the_run_go_on(sit: Sit) -> None:
    watching = sit("olga")
    start(watching, "till", "Refund order 4741", '{"order": 4741}')
    expect(watching.locator(state(watching))).to_have_text("Waiting", timeout=SOON)
    question = watching.locator("#step .question")
    act = "Refund €20.00 to Café Lindenhof for order 4741"
    expect(question).to_contain_text(act)
    expect(question.get_by_role("button", name="Decide")).to_be_disabled()
    expect(question).to_contain_text("Deciding takes the role reviewer in Bakery.")

    deciding = sit("rhea", "/approvals/")
    expect(deciding.get_by_role("link", name=re.compile(r"^Approvals ?[1-9]"))).to_be_visible()  # the badge
    named = question.get_attribute("id") or ""
    deciding.goto(f"/approvals/{named.removeprefix('question-')}/")  # it may stand in a group of alike requests
    expect(deciding.get_by_role("heading", level=1)).to_have_text(act)
    deciding.keyboard.press("1")
    expect(deciding.get_by_label("Reason")).to_be_focused()
    deciding.keyboard.type("the photo shows it")
    deciding.keyboard.press("Control+Enter")
    expect(watching.locator(state(watching))).to_have_text("Completed", timeout=SOON)
    expect(watching.locator(".story")).to_contain_text("Approved by rhea: “the photo shows it”")
    expect(watching.locator("#step")).to_contain_text("approved by rhea")


def test_rejecting_on_the_page_of_the_run_wants_a_reason(sit: Sit) -> None:
    page = sit("olga")
    address = start(page, "till", "Refund order 4712", '{"order": 4712}')
    expect(page.locator(state(page))).to_have_text("Waiting", timeout=SOON)
    deciding = sit("rhea", address)
    question = deciding.locator("#step .question")
    question.get_by_text("Reject", exact=True).click()
    question.get_by_role("button", name="Decide").click()
    assert question.get_by_label("Reason").evaluate("field => field.validity.valueMissing")
    question.get_by_label("Reason").fill("it was not broken")
    question.get_by_role("button", name="Decide").click()
    expect(page.locator(state(page))).to_have_text("Failed", timeout=SOON)
    expect(page.locator(".story")).to_contain_text("Was refused:")
    expect(page.locator(".story")).to_contain_text("it was not broken")


def test_a_stranger_is_told_that_there_is_nothing(sit: Sit) -> None:
    address = start(sit("olga"), "clerk", "Where is order 4713?")
    stranger = sit("stella")
    answer = stranger.goto(address)
    assert answer is not None
    assert answer.status == 404
    stranger.goto("/runs/")
    expect(stranger.locator("#list")).to_contain_text("No run yet")


def test_a_frozen_agent_starts_nothing_until_it_is_thawed(sit: Sit, cockpit: Cockpit) -> None:
    page = sit("olga", "/agents/clerk/")
    page.get_by_role("button", name="Freeze…").click()
    dialog = page.get_by_role("dialog", name="Freeze this agent")
    expect(dialog).to_contain_text("Does not cancel or undo anything.")
    dialog.get_by_label("Reason").fill("odd answers")
    dialog.get_by_role("button", name="Freeze", exact=True).click()
    expect(page.locator("#controls > .state")).to_have_text("frozen by olga")
    try:
        expect(page.locator("#standing")).to_contain_text("“odd answers”")
        run = sit("olga")
        start(run, "clerk", "Where is order 4714?")
        expect(run.locator("#standing")).to_contain_text("clerk is frozen")
        expect(run.locator(state(run))).to_have_text("Queued")
    finally:
        page.get_by_role("button", name="Thaw…").click()
        page.get_by_role("dialog", name="Thaw this agent").get_by_role("button", name="Thaw", exact=True).click()
    expect(page.locator("#controls > .state")).not_to_have_text("frozen by olga")
    expect(run.locator(state(run))).to_have_text("Completed", timeout=SOON)
