"""Changing a parameter of a run that is at work: seen at once, in force from its next step on, taken back."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.living.conftest import Sit
from tests.browser.living.test_steering import SOON, start, state

pytestmark = pytest.mark.browser


def override(page: Page, parameter: str, value: str, reason: str) -> None:
    """Open the dialog, choose, say why, confirm."""
    page.locator("#controls").get_by_role("button", name="Override…").click()
    dialog = page.get_by_role("dialog", name="Override a parameter")
    dialog.get_by_label("Parameter").select_option(parameter)
    field = dialog.get_by_label("New value")
    if value.isdigit() and parameter.startswith("limits"):
        expect(field).to_have_js_property("tagName", "INPUT")
        field.fill(value)
    else:
        expect(field).to_have_js_property("tagName", "SELECT")
        field.select_option(value)
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name="Override", exact=True).click()


def test_a_limit_of_a_run_at_work_is_changed_and_ends_it(sit: Sit) -> None:
    page = sit("olga")
    start(page, "baker", "Bake until told otherwise", '{"seconds": 1.5}')
    expect(page.locator("#standing")).to_contain_text("At work", timeout=SOON)
    override(page, "limits.steps", "4", "the oven is needed")
    expect(page.locator("#overridden")).to_contain_text("limits.steps")
    expect(page.locator("#overridden")).to_contain_text("“the oven is needed”")
    expect(page.locator("#toasts")).to_contain_text("limits.steps: not set → 4")
    expect(page.locator(state(page))).to_have_text("Failed", timeout=SOON)
    expect(page.locator("#standing")).to_contain_text("An override allows 4 steps.")
    expect(page.locator("#step")).to_contain_text("limits.steps 4")  # the last step says what was in force


def test_what_does_not_fit_is_said_in_the_dialog(sit: Sit) -> None:
    page = sit("olga")
    start(page, "baker", "Bake on", '{"seconds": 600}')
    page.locator("#controls").get_by_role("button", name="Override…").click()
    dialog = page.get_by_role("dialog", name="Override a parameter")
    dialog.get_by_label("New value").fill("many")
    dialog.get_by_label("Reason").fill("to see")
    dialog.get_by_role("button", name="Override", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("[limits] steps is 'many'")
    dialog.get_by_role("link", name="Keep as it is").click()
    expect(dialog).to_be_hidden()


def test_nothing_is_typed_into_a_field_that_is_about_to_be_replaced(sit: Sit) -> None:
    page = sit("olga", "/agents/baker/")
    page.locator("#controls").get_by_role("button", name="Override…").click()
    dialog = page.get_by_role("dialog", name="Override a parameter")
    asked: list[Route] = []
    page.route(re.compile(r"/overrides/\?.*parameter="), lambda route: asked.append(route))
    dialog.get_by_label("Parameter").select_option("limits.tokens")
    expect(dialog.get_by_label("New value")).to_be_disabled()
    asked[0].continue_()
    dialog.get_by_label("New value").fill("5000")
    expect(dialog.get_by_label("New value")).to_have_value("5000")
    expect(dialog.get_by_label("Parameter")).to_have_value("limits.tokens")


@pytest.mark.usefixtures("as_released")
def test_a_tier_of_an_agent_is_made_stricter_and_taken_back(sit: Sit) -> None:
    page = sit("olga", "/agents/till/")
    override(page, "tiers.bakery.refund", "4", "the bank refuses")
    row = page.locator("#overridden")
    expect(row).to_contain_text("tiers.bakery.refund")
    run = sit("olga")
    start(run, "till", "Refund order 4751", '{"order": 4751}')
    expect(run.locator("#overridden")).to_contain_text("for every run of till")
    expect(run.locator(state(run))).to_have_text("Waiting", timeout=SOON)
    expect(run.locator("#step")).to_contain_text("tier 4")
    row.get_by_role("button", name="Revert…").click()
    dialog = page.get_by_role("dialog", name="Take this back")
    dialog.get_by_role("button", name="Revert", exact=True).click()
    expect(page.locator("#overridden")).not_to_contain_text("bakery.refund")
    expect(page.locator("#toasts")).to_contain_text(re.compile("is as the release says"))
