"""The shell as people meet it: signing in, getting around, staying current, being told, on any screen."""

import re

import pytest
from playwright.sync_api import Page, expect

from agents.models import AuditEntry, Team, User
from cockpit import live
from cockpit.templatetags import formatting
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def gallery(page, sign_in, olga) -> Page:
    """The page with every component on it, once it is live."""
    sign_in(olga)
    page.goto("/gallery/")
    expect(page.locator("#live")).to_have_text("live", timeout=15_000)
    return page


def say(*topics: str) -> None:
    """What a worker in another process would announce."""
    live._announcer._queue.extend(topics)
    live._announcer.flush()


def test_a_person_signs_in_goes_where_they_wanted_and_signs_out(page, olga):
    page.goto("/me/")
    page.get_by_label("Name").fill("OLGA")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    page.get_by_label("Password").fill("olga-opens-doors")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(olga.name)
    page.get_by_role("button", name=re.compile("settings and sign out")).click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    outcomes = (
        AuditEntry.objects.filter(verb__startswith="person.sign").order_by("id").values_list("outcome", flat=True)
    )
    assert list(outcomes) == ["denied", "done", "done"]


def test_every_page_of_the_shell_is_fit_for_everyone(page, sign_in, olga, tidy):
    page.goto("/login/")
    tidy()
    sign_in(olga)
    for path in ("/me/", "/me/password/", "/nowhere/"):
        page.goto(path)
        tidy()


def test_every_component_is_fit_for_everyone(gallery, tidy):
    factories.team("support")
    gallery.reload()
    expect(gallery.locator(".chart .main-svg").first).to_be_visible(timeout=15_000)
    tidy()
    gallery.get_by_role("button", name="Freeze all…").click()
    tidy()


def test_the_rooms_are_there_and_the_one_that_is_open_is_marked(page, sign_in, olga):
    sign_in(olga)
    page.goto("/runs/")
    rooms = page.get_by_role("navigation", name="Rooms")
    assert rooms.locator("li a > span:first-of-type").all_inner_texts() == [
        "Fleet",
        "Agents",
        "Runs",
        "Approvals",
        "Policies",
        "Costs",
        "Audit",
    ]
    expect(rooms.locator("[aria-current]")).to_have_text("Runs")


def test_the_theme_changes_at_once_and_stays_on_every_device(gallery, olga, chromium, site):
    root = gallery.locator("html")
    gallery.get_by_role("button", name="Change between light and dark").click()
    expect(root).to_have_attribute("data-theme", "dark")
    gallery.reload()
    expect(root).to_have_attribute("data-theme", "dark")
    assert User.objects.get(pk=olga.pk).theme == "dark"


def test_the_page_arrives_in_the_chosen_theme_before_any_script_runs(page, sign_in, olga):
    User.objects.filter(pk=olga.pk).update(theme="dark")
    sign_in(olga)
    answer = page.request.get("/me/")
    assert '<html lang="en" data-theme="dark">' in answer.text()


def test_times_are_in_the_zone_of_the_browser_until_the_clock_is_switched(gallery):
    gallery.reload()  # the first page told the server the zone
    clock = gallery.get_by_role("button", name=re.compile(r"^\d\d:\d\d:\d\d CET$"))
    expect(clock).to_be_visible()
    clock.click()
    expect(gallery.get_by_role("button", name=re.compile(r"^\d\d:\d\d:\d\d UTC$"))).to_be_visible()
    gallery.reload()
    expect(gallery.get_by_role("button", name=re.compile(r"^\d\d:\d\d:\d\d UTC$"))).to_be_visible()


def test_the_palette_goes_anywhere_by_a_few_letters(gallery):
    gallery.keyboard.press("Control+k")
    palette = gallery.get_by_role("dialog", name="Go to")
    expect(palette).to_be_visible()
    gallery.keyboard.type("sett")
    expect(palette.get_by_role("option", selected=True)).to_contain_text("Your settings")
    gallery.keyboard.press("Enter")
    expect(gallery).to_have_url(re.compile("/me/$"))


def test_keys_move_between_rows_and_are_silent_while_somebody_types(gallery):
    for slug in ("alpha", "beta"):
        factories.team(slug)
    gallery.reload()
    gallery.keyboard.press("j")
    expect(gallery.locator("tr.here")).to_contain_text("Alpha")
    gallery.keyboard.press("j")
    expect(gallery.locator("tr.here")).to_contain_text("Beta")
    gallery.keyboard.press("/")
    gallery.keyboard.type("jk?")
    expect(gallery.get_by_role("searchbox", name="Filter")).to_have_value("jk?")
    expect(gallery.locator("tr.here")).to_contain_text("Beta")
    expect(gallery.get_by_role("dialog", name="Keys")).to_be_hidden()
    gallery.keyboard.press("Escape")
    gallery.keyboard.press("?")
    expect(gallery.get_by_role("dialog", name="Keys")).to_be_visible()
    gallery.keyboard.press("Escape")
    gallery.keyboard.press("k")
    gallery.keyboard.press("Enter")
    expect(gallery).to_have_url(re.compile("open=alpha"))


def test_known_rows_change_in_place_and_new_ones_wait_to_be_asked_for(gallery):
    team = factories.team("alpha")
    gallery.reload()
    expect(gallery.locator("#live")).to_have_text("live")
    Team.objects.filter(pk=team.pk).update(name="Alpha renamed")
    factories.team("beta")
    factories.team("gamma")
    say("teams")
    expect(gallery.locator("tr[data-key=alpha]")).to_contain_text("Alpha renamed")
    expect(gallery.locator("tr[data-key=beta]")).to_have_count(0)
    gallery.get_by_role("button", name="2 new").click()
    expect(gallery.locator("tr[data-key=beta]")).to_be_visible()
    expect(gallery.get_by_role("button", name=re.compile("new$"))).to_have_count(0)


def test_two_tabs_share_one_stream(gallery):
    other = gallery.context.new_page()
    other.goto("/gallery/")
    expect(other.locator("#live")).to_have_text("live")
    factories.team("alpha")
    say("teams")
    for tab in (gallery, other):
        expect(tab.get_by_role("button", name="1 new")).to_be_visible()
    streams = [entry for tab in (gallery, other) for entry in tab.evaluate(STREAMS)]
    assert streams == []  # the pages themselves opened none: the shared worker has it


STREAMS = "performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.includes('/events/'))"


def test_an_act_asks_for_its_reason_happens_once_and_says_so(gallery):
    team = factories.team("alpha")
    gallery.reload()
    gallery.locator("tr[data-key=alpha]").get_by_role("button", name="Rename…").click()
    dialog = gallery.get_by_role("dialog", name="Rename this team")
    expect(dialog).to_contain_text("Shows another name everywhere.")
    dialog.get_by_role("button", name="Rename").click()
    expect(dialog).to_be_visible()  # a reason is required
    dialog.get_by_label("Reason").fill("Aleph")
    dialog.get_by_role("button", name="Rename").click()
    expect(dialog).to_be_hidden()
    expect(gallery.locator("tr[data-key=alpha]")).to_contain_text("Aleph")
    expect(gallery.locator("#toasts")).to_contain_text("Renamed.")
    assert Team.objects.get(pk=team.pk).name == "Aleph"


def test_a_refusal_stands_beside_what_was_typed(gallery):
    factories.team("locked")
    gallery.reload()
    gallery.locator("tr[data-key=locked]").get_by_role("button", name="Rename…").click()
    dialog = gallery.get_by_role("dialog", name="Rename this team")
    dialog.get_by_label("Reason").fill("Opened")
    dialog.get_by_role("button", name="Rename").click()
    expect(dialog.get_by_role("alert")).to_have_text("Locked can no longer be renamed: olga locked it at 14:02.")
    expect(dialog.get_by_label("Reason")).to_have_value("Opened")


def test_nothing_is_renewed_under_the_hands_of_somebody_who_types(gallery):
    team = factories.team("alpha")
    gallery.reload()
    gallery.locator("tr[data-key=alpha]").get_by_role("button", name="Rename…").click()
    dialog = gallery.get_by_role("dialog", name="Rename this team")
    dialog.get_by_label("Reason").fill("half a sent")
    Team.objects.filter(pk=team.pk).update(name="Changed elsewhere")
    say("teams")
    gallery.wait_for_timeout(1_200)
    expect(dialog.get_by_label("Reason")).to_have_value("half a sent")
    gallery.keyboard.press("Escape")
    expect(gallery.locator("tr[data-key=alpha]")).to_contain_text("Changed elsewhere")


def test_an_irreversible_act_wants_its_word_typed(gallery):
    gallery.get_by_role("button", name="Freeze all…").click()
    dialog = gallery.get_by_role("dialog", name="Freeze every agent")
    dialog.get_by_label("Reason").fill("because")
    dialog.get_by_label("Type freeze to go on").fill("frieze")
    dialog.get_by_role("button", name="Freeze all").click()
    expect(dialog).to_be_visible()
    assert dialog.get_by_label("Type freeze to go on").evaluate("field => field.validity.patternMismatch")


def test_an_ended_session_leads_back_to_signing_in(gallery):
    factories.team("alpha")
    gallery.reload()
    gallery.context.clear_cookies()
    gallery.locator("tr[data-key=alpha]").get_by_role("button", name="Rename…").click()
    dialog = gallery.get_by_role("dialog", name="Rename this team")
    dialog.get_by_label("Reason").fill("late")
    gallery.evaluate("document.body.setAttribute('hx-headers', '{}')")
    gallery.evaluate("htmx.trigger(document.getElementById('teams'), 'live')")
    expect(gallery.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_confirmations_and_refusals_work_without_any_script(chromium, site, sign_in, page, olga):
    factories.team("alpha")
    factories.team("locked")
    sign_in(olga)
    with chromium.new_context(base_url=site, java_script_enabled=False) as context:
        context.add_cookies(page.context.cookies())
        plain = context.new_page()
        for team in ("alpha", "locked"):
            plain.goto("/gallery/")
            plain.locator(f"tr[data-key={team}]").get_by_role("button", name="Rename…").click()
            dialog = plain.get_by_role("dialog", name="Rename this team")
            dialog.get_by_label("Reason").fill("Aleph")
            dialog.get_by_role("button", name="Rename").click()
        expect(plain.get_by_role("heading", level=1)).to_contain_text("Locked can no longer be renamed")
        expect(plain.get_by_role("navigation", name="Rooms")).to_be_visible()
    assert Team.objects.get(slug="alpha").name == "Aleph"


def test_script_and_server_word_ages_and_countdowns_alike(gallery):
    seconds = [0, 0.4, 1, 59.9, 60, 3599, 3600, 86399, 86400, 172799, 172800, 10_000_000]
    theirs = gallery.evaluate(
        "async (all) => { const times = await import('/static/js/times.js');"
        " return all.map((one) => [times.coarse(one), times.countdown(one)]); }",
        seconds,
    )
    assert theirs == [[formatting.coarse(one), formatting.countdown(one)] for one in seconds]
