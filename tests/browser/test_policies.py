"""The pages of policies in a browser: fit for everyone, and an act is made up and judged by keys alone."""

import pytest
from playwright.sync_api import expect

from agents.models import Role, Tool, ToolGrant
from approvals.policies import loaded
from tests import factories, showing
from tests.approvals.policies import rulebook

pytestmark = pytest.mark.browser


def test_who_may_do_what_is_read_and_tried_by_keys_alone(page, sign_in, tidy, olga, team):
    payer = factories.agent("payer", of=team)
    schema = {
        "properties": {"order": {"type": "string"}, "amount": {"type": "string"}},
        "required": ["order", "amount"],
    }
    tool = Tool.objects.create(name="test.refund", description="Pay back.", schema=schema, writes=True, tier=3)
    ToolGrant.objects.create(agent=payer, tool=tool)
    rulebook.enforce()
    sign_in(olga)
    page.goto("/policies/")
    expect(page.get_by_role("heading", name="Rules of policies 1")).to_be_visible()
    tidy()
    page.goto("/policies/new/?from=1")
    expect(page.get_by_label("rules.cedar")).to_be_disabled()  # olga reads why
    tidy()
    page.goto("/policies/permissions/")
    tidy()
    page.get_by_role("link", name="test.refund").focus()
    page.keyboard.press("Enter")
    arguments = page.get_by_label("Arguments")
    expect(arguments).to_have_value('{\n "order": "",\n "amount": ""\n}')
    arguments.fill('{"order": "4711", "amount": "700"}')
    page.get_by_role("button", name="Judge it").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Answer")).to_contain_text("L2, 2 people, within 30 min")
    tidy()
    page.goto("/agents/payer/")
    expect(page.locator("#escalates")).to_contain_text("policy 1 asks about test.refund")
    loaded.forget()


def test_a_version_is_enforced_by_keys_alone_after_what_it_would_have_done_was_read(page, sign_in, tidy, run):
    gaia = factories.person("gaia", Role.GOVERNANCE)
    sign_in(gaia)  # who has a second factor shows it with the password; it is set up here so that the form asks for it
    showing.app_of(gaia)
    rulebook.publish()
    page.goto("/policies/new/?from=1")
    page.get_by_label("cases.toml").fill("[[case")
    page.get_by_role("button", name="Only check").press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("cases.toml: this is not TOML")
    tidy()
    page.goto("/policies/")
    page.get_by_role("link", name="See what they would have done, and enforce").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="What they would have done")).to_be_visible()
    tidy()
    page.get_by_label("Reason").fill("Tried for a week.")
    page.keyboard.press("Tab")
    page.keyboard.type(showing.code())
    page.get_by_role("button", name="Enforce them").dblclick()
    expect(page.get_by_text("They decide over every act of every agent.")).to_be_visible()
    page.get_by_role("link", name="Go back").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("They replaced none")).to_be_visible()
    tidy()
    loaded.forget()
