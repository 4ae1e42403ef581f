"""Finding one's way: lists that stay current, filters that Back undoes, keys, and pages that are fit for everyone."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import assert_tidy
from tests.browser.living.conftest import Sit
from tests.browser.living.test_steering import SOON, start, state, step_in

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def addresses() -> dict[str, str]:
    """Runs that tests of this module have seen end, by how they ended."""
    return {}


@pytest.fixture
def runs(sit: Sit, addresses: dict[str, str]) -> dict[str, str]:
    """One run in each of the states that stay: completed, failed, waiting, paused, cancelled."""
    if not addresses:
        page = sit("olga")
        for name, agent, facts, word in [
            ("completed", "clerk", "", "Completed"),
            ("failed", "till", '{"order": 9999}', "Failed"),
            ("waiting", "till", '{"order": 4720}', "Waiting"),
            ("paused", "till", '{"order": 4721}', "Waiting"),
            ("cancelled", "till", '{"order": 4722}', "Waiting"),
        ]:
            addresses[name] = start(page, agent, f"See order 4720, {name}", facts)
            expect(page.locator(state(page))).to_have_text(word, timeout=SOON)
            if name == "paused":
                step_in(page, "Pause", "to be looked at")
            elif name == "cancelled":
                step_in(page, "Cancel", "to be looked at")
    return addresses


PAGES = [
    "/",
    "/agents/",
    "/agents/till/",
    "/runs/",
    "/runs/?q=nothing+at+all",
    "/runs/new/",
    "/approvals/",
    "/costs/",
    "/audit/",
    "/me/",
]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_fit_for_everyone(sit: Sit, runs: dict[str, str], path: str) -> None:
    page = sit("ada", path)
    expect(page.locator("#live")).to_have_text("live", timeout=SOON)
    assert_tidy(page)


@pytest.mark.parametrize("name", ["completed", "failed", "waiting", "paused", "cancelled"])
def test_a_run_is_fit_for_everyone_in_every_state(sit: Sit, runs: dict[str, str], name: str) -> None:
    page = sit("olga", runs[name])
    expect(page.locator("#step > header h2")).to_be_visible()
    expect(page.locator("#step .skeleton")).to_have_count(0, timeout=SOON)
    assert_tidy(page)


@pytest.mark.parametrize("view", ["tree", "timeline", "messages"])
def test_a_run_is_fit_for_everyone_in_every_way_of_reading(sit: Sit, runs: dict[str, str], view: str) -> None:
    assert_tidy(sit("rhea", f"{runs['completed']}?view={view}&step=1"))


def test_dialogs_and_signing_in_are_fit_for_everyone(sit: Sit, runs: dict[str, str]) -> None:
    assert_tidy(sit("", "/login/"))
    page = sit("olga", runs["waiting"])
    page.locator("#controls").get_by_role("button", name="Cancel…").click()
    expect(page.get_by_role("dialog", name="Cancel this run")).to_be_visible()
    assert_tidy(page)


def test_back_undoes_filters_one_by_one(sit: Sit, runs: dict[str, str]) -> None:
    page = sit("olga", "/runs/")
    page.get_by_role("link", name="Failures").click()
    expect(page.get_by_label("Find runs")).to_have_value("state:failed")
    page.get_by_label("Find runs").fill("state:failed agent:till order")
    page.get_by_label("Find runs").press("Enter")
    expect(page).to_have_url(re.compile("agent%3Atill"))
    page.go_back()
    expect(page.get_by_label("Find runs")).to_have_value("state:failed")
    expect(page.get_by_role("link", name="Failures")).to_have_attribute("aria-current", "true")
    page.go_back()
    expect(page.get_by_label("Find runs")).to_have_value("")


def test_a_query_that_cannot_be_read_is_answered_in_a_sentence(sit: Sit) -> None:
    page = sit("olga", "/runs/")
    page.keyboard.press("/")
    page.keyboard.type("state:broken")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("“broken” is no state")
    expect(page.get_by_label("Find runs")).to_have_value("state:broken")


def test_the_query_bar_offers_what_may_come_next(sit: Sit) -> None:
    page = sit("olga", "/runs/")
    page.get_by_label("Find runs").press_sequentially("state:failed ag")
    assert "state:failed agent:till" in page.locator("#query-words option").evaluate_all(
        "all => all.map(one => one.value)"
    )


def test_steps_are_chosen_without_leaving_the_page_and_back_goes_back(sit: Sit, runs: dict[str, str]) -> None:
    page = sit("olga", runs["completed"])
    page.evaluate("window.mark = 'here'")
    page.get_by_role("link", name=re.compile("Used bakery.look")).click()
    expect(page.locator("#step > header h2")).to_have_text("Step 2 · bakery.look")
    expect(page.locator("#step")).to_contain_text('"customer": "Café Lindenhof"')
    page.get_by_role("link", name="Tree").click()
    expect(page.locator(".tree [aria-current]")).to_contain_text("bakery.look")
    page.get_by_role("link", name="Timeline").click()
    expect(page.locator(".waterfall [aria-current]")).to_contain_text("bakery.look")
    assert page.evaluate("window.mark") == "here"
    page.go_back()
    expect(page.locator(".tree")).to_be_visible()
    expect(page.get_by_role("navigation", name="Rooms")).to_be_visible()  # the page, not a fragment of it


def test_leaving_and_coming_back_shows_the_page_and_no_fragment_of_it(sit: Sit, runs: dict[str, str]) -> None:
    page = sit("olga", runs["completed"])
    page.get_by_role("link", name="Tree").click()
    expect(page.locator(".tree")).to_be_visible()
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit")
    page.go_back()
    expect(page.locator(".tree")).to_be_visible()
    expect(page.get_by_role("navigation", name="Rooms")).to_be_visible()


def test_everything_is_reached_by_keys_alone(sit: Sit, runs: dict[str, str]) -> None:
    page = sit("olga", "/runs/?q=clerk+or+state:completed+See")
    page.goto("/runs/?q=state:completed+See")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}/"))
    expect(page.locator("#step > header h2")).to_contain_text("Step 3")
    page.keyboard.press("[")
    expect(page.locator("#step > header h2")).to_contain_text("Step 2")
    page.keyboard.press("[")
    expect(page.locator("#step > header h2")).to_contain_text("Step 1")
    page.keyboard.press("]")
    expect(page.locator("#step > header h2")).to_contain_text("Step 2")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#step > header h2")).to_contain_text("Step 1")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("anotherlike")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("New run")
    expect(page.get_by_label("Objective")).to_have_value("See order 4720, completed")


def test_one_key_leads_to_what_went_wrong(sit: Sit, runs: dict[str, str]) -> None:
    page = sit("olga", f"{runs['failed']}")
    expect(page.locator("#step > header h2")).to_contain_text("bakery.look")
    page.goto(f"{runs['waiting']}?step=1")
    page.keyboard.press("f")
    expect(page.locator("#step > header h2")).to_contain_text("bakery.refund")


def test_new_runs_wait_to_be_asked_for_and_known_ones_change_in_place(sit: Sit) -> None:
    page = sit("olga", "/runs/")
    expect(page.locator("#live")).to_have_text("live", timeout=SOON)
    top = page.locator("tbody tr").first.get_attribute("data-key")
    start(sit("olga"), "clerk", "Where is order 4730?")
    button = page.get_by_role("button", name=re.compile(r"^\d+ new$"))
    expect(button).to_be_visible(timeout=SOON)
    assert page.locator("tbody tr").first.get_attribute("data-key") == top  # nothing jumped
    page.keyboard.press(".")
    row = page.locator("tbody tr", has_text="Where is order 4730?")
    expect(row).to_contain_text("Completed", timeout=SOON)


def test_the_fleet_follows_what_happens(sit: Sit) -> None:
    page = sit("olga", "/")
    expect(page.locator("#live")).to_have_text("live", timeout=SOON)
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("Is work flowing?")
    starting = sit("olga")
    start(starting, "baker", "Bake for the fleet", '{"seconds": 600}')
    row = page.get_by_role("row", name=re.compile("^baker "))
    expect(row).to_contain_text("working", timeout=SOON)
    step_in(starting, "Cancel", "seen enough")
    expect(row).not_to_contain_text("working", timeout=SOON)


def test_on_a_phone_the_chosen_step_comes_into_sight(sit: Sit, runs: dict[str, str]) -> None:
    page = sit("olga", runs["completed"], phone=True)
    page.get_by_role("link", name=re.compile("Used bakery.look")).click()
    expect(page.locator("#step > header h2")).to_have_text("Step 2 · bakery.look")
    expect(page.locator("#step > header h2")).to_be_in_viewport()
    page.get_by_role("link", name="Back to the story").click()
    expect(page.get_by_role("link", name="Timeline")).to_be_in_viewport()


def test_the_list_is_taken_along_as_a_file(sit: Sit, runs: dict[str, str]) -> None:
    page = sit("olga", "/runs/?q=state:failed+agent:till")
    with page.expect_download() as taken:
        page.get_by_role("link", name="CSV").click()
    assert re.fullmatch(r"runs-[\d-]+\.csv", taken.value.suggested_filename)
    assert "step_failed" in taken.value.path().read_text()
