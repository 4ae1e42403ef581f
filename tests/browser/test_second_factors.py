"""Second factors in a real browser: an app set up and L2 decided by keys alone, a passkey made and shown."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from agents.models import AuditEntry, User
from agents.people import factors
from approvals.models import Approval, Decision
from tests import showing
from tests.approvals import questions

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def asked(**fields) -> Approval:
    approval = questions.held(**fields)
    Approval.objects.filter(pk=approval.pk).update(level=2)
    return approval


def test_an_app_is_set_up_and_l2_decided_by_keys_alone(page: Page, sign_in, rhea: User, tidy):
    approval, second = asked(), asked(seq=3)
    sign_in(rhea)
    page.goto(f"/approvals/{approval.pk}/")
    expect(page.get_by_role("button", name="Decide")).to_be_disabled()
    page.get_by_role("link", name="Set one up").press("Enter")
    page.get_by_role("link", name="Authenticator app").press("Enter")
    tidy()
    secret = re.sub(r"\s", "", page.locator("code.wraps").inner_text())
    page.get_by_label("The code it shows now").press_sequentially(showing.code(0, secret))
    page.keyboard.press("Tab")
    page.keyboard.type("rhea-opens-doors")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    tidy()
    page.context.clear_cookies()
    sign_in(rhea)  # another session, in which nothing was shown yet
    page.goto(f"/approvals/{approval.pk}/")
    tidy()
    page.keyboard.press("1")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("The photo shows it.")
    page.keyboard.press("Control+Enter")  # the browser asks for the code first
    expect(page.get_by_label("Code")).to_be_focused()
    page.keyboard.type("000000")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".answers .error")).to_contain_text("This code is not right")
    expect(page.get_by_label("Code")).to_be_focused()
    page.get_by_label("Code").fill(showing.code(1, secret))
    page.keyboard.press("Control+Enter")
    expect(page.locator(".question footer")).to_contain_text("Approved by rhea")
    assert Decision.objects.get().reason == "The photo shows it.", "nothing that was typed is lost"
    page.goto(f"/approvals/{second.pk}/")
    expect(page.get_by_label("Code")).to_have_count(0)


def test_a_passkey_is_made_and_then_shown_by_the_press_that_decides(
    chromium, site: str, rhea: User, sign_in, page: Page
):
    approval = asked()
    name = f"http://localhost:{urlsplit(site).port}"  # passkeys belong to names
    with chromium.new_context(base_url=name) as context:
        tab = context.new_page()
        complaints: list[str] = []
        tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        recognise = with_key(tab)
        enter(tab)
        tab.goto("/me/security/passkey/")
        tab.get_by_label("Name").fill("Laptop")
        tab.get_by_label("Your password").fill("rhea-opens-doors")
        tab.get_by_role("button", name="Make a passkey").click()
        expect(tab.get_by_role("heading", name="Recovery codes")).to_be_visible()
        context.clear_cookies()
        enter(tab)
        expect(tab.get_by_role("heading", name="Is it you, rhea?")).to_be_visible()
        tab.get_by_role("button", name="Use passkey").click()
        expect(tab.get_by_role("link", name="Approvals").first).to_be_visible()
        AuditEntry.objects.get(verb="person.signed_in", detail__factor="webauthn")
        make_stale(tab)
        tab.goto(f"/approvals/{approval.pk}/")
        tab.keyboard.press("1")
        recognise(False)
        tab.keyboard.press("Control+Enter")
        expect(tab.locator("[data-error]")).to_contain_text("No passkey was shown, and nothing was sent.")
        recognise(True)
        tab.keyboard.press("Control+Enter")  # this very press asks for the passkey, and goes on
        expect(tab.locator(".question footer")).to_contain_text("Approved by rhea")
        assert complaints == []
    assert factors.kinds(rhea) == {"webauthn", "recovery_codes"}
    assert AuditEntry.objects.filter(verb="person.factor_shown", outcome="done").count() == 2


def with_key(tab: Page) -> Callable[[bool], None]:
    """A key that is plugged in, and touched whenever somebody asks; says whether it recognises who touches it."""
    chrome = tab.context.new_cdp_session(tab)
    chrome.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    added = chrome.send(
        "WebAuthn.addVirtualAuthenticator",
        {"options": {**options, "isUserVerified": True, "automaticPresenceSimulation": True}},
    )

    def recognise(does: bool) -> None:
        chrome.send("WebAuthn.setUserVerified", {**added, "isUserVerified": does})

    return recognise


def enter(tab: Page) -> None:
    tab.goto("/login/")
    tab.get_by_label("Name").fill("rhea")
    tab.get_by_label("Password").fill("rhea-opens-doors")
    tab.get_by_role("button", name="Sign in").click()
    tab.wait_for_load_state()


def make_stale(tab: Page) -> None:
    """As if the factor had been shown long ago."""
    from django.contrib.sessions.backends.db import SessionStore

    (kept,) = [
        one["value"]
        for one in tab.context.cookies()
        if one["name"].startswith("cockpit_") and "csrf" not in one["name"]
    ]
    session = SessionStore(kept)
    session["second_factor_at"] = "2020-01-01T00:00:00+00:00"
    session.save()
