"""Publishing policies on the page: written or uploaded, checked, refused with every mistake named, and kept."""

import re
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from agents.models import AuditEntry, Role, User
from approvals.models import PolicySet
from approvals.policies import drafting, rules
from tests import factories
from tests.approvals.policies.rulebook import CASES, RULES, publish

PATH = "/policies/new/"
WRITTEN = """
[[case]]
name = "A refund waits"
expect = "hold"
tool = "test.refund"
arguments = { order = "4711", amount = "184.00" }
"""
MISTAKES = """
@id("typo") forbid(principal, action == Cockpit::Action::"test.refnud", resource);
permit(principal, action, resource);
"""


@pytest.fixture
def inside(client: Client, db: None) -> Client:
    """Gaia, who governs in every team."""
    client.force_login(factories.person("gaia", Role.GOVERNANCE))
    return client


def post(client: Client, texts: dict[str, str], files: dict[str, str | bytes] | None = None, **more: str) -> Any:
    """The form as a browser sends it."""
    sent = [
        SimpleUploadedFile(name, text if isinstance(text, bytes) else text.encode())
        for name, text in (files or {}).items()
    ]
    fields = {"name": [*texts], "text": [*texts.values()], "files": sent, "request_id": str(uuid7())}
    return client.post(PATH, {**fields, **more})


def said(response: Any) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())))


def numbers() -> list[int]:
    return list(PolicySet.objects.order_by("number").values_list("number", flat=True))


@pytest.mark.parametrize("how", ["written", "uploaded"])
def test_what_is_written_or_uploaded_is_a_draft(inside: Client, how: str) -> None:
    content: dict[str, Any] = {"mine.cedar": RULES, "mine.toml": WRITTEN}
    answer = post(inside, content) if how == "written" else post(inside, {"policies.cedar": " "}, content)
    made = PolicySet.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/policies/?version={made.number}")
    assert (made.state, [*made.files], made.cases[0]["name"]) == ("draft", ["mine.cedar"], "A refund waits")
    assert f"Policies {made.number} are published; 1 case passes." in said(inside.get(answer["Location"]))
    assert AuditEntry.objects.get(verb="policy.published").by_name == "gaia"


def test_the_same_again_is_the_version_there_is_and_the_page_says_so(inside: Client) -> None:
    for _ in range(2):
        answer = post(inside, {"a.cedar": RULES, "a.toml": WRITTEN})
    assert numbers() == [1]
    assert "The same is published already: policies 1, draft." in said(inside.get(answer["Location"]))


def test_every_mistake_is_named_and_what_was_written_is_kept(inside: Client) -> None:
    answer = post(inside, {"a.cedar": MISTAKES, "a.toml": '[[case]]\nname = "x"\nexpct = "deny"\n'})
    text = said(answer)
    assert answer.status_code == 422
    for sentence in (
        'a.cedar: typo: unrecognized action `Cockpit::Action::"test.refnud"`',
        "a.cedar: the policy at place 2 has no @id",
        "a.toml: case 1 (x): expct means nothing here. Did you mean expect?",
    ):
        assert sentence in text
    assert "Nothing was published" in text
    assert MISTAKES.strip().splitlines()[0] in unescape(answer.content.decode())
    assert numbers() == []


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.cedar": b"\xff\xfe\x00"}, "a.cedar is not text in UTF-8."),
        ({"a.cedar": f"{RULES}// \0", "a.toml": WRITTEN}, "this is not text: it holds a NUL character."),
        ({"a.txt": RULES}, "a.txt: policies end with .cedar, their cases with .toml."),
        ({"a.cedar": "x" * (drafting.MOST_BYTES + 1)}, "a.cedar is larger than 256 KiB"),
        ({"a.toml": "[[case"}, "a.toml: this is not TOML: "),
        ({"a.cedar": RULES}, "There is no case."),
        ({"a.toml": WRITTEN}, "There is no policy in it"),
        ({"a.cedar": RULES, "a.toml": WRITTEN.replace("hold", "deny")}, "must deny, but the policies hold it"),
        ({"a.cedar": 'permit(principal, "', "a.toml": WRITTEN}, "a.cedar: line 1: this is not Cedar"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(inside: Client, files: dict[str, Any], sentence: str) -> None:
    answer = post(inside, {}, files)
    assert (answer.status_code, numbers()) == (422, [])
    assert sentence in said(answer)


def test_only_checking_keeps_nothing(inside: Client) -> None:
    answer = post(inside, {"a.cedar": RULES, "a.toml": WRITTEN}, check="yes")
    assert "All as it must be: 6 rules, 1 case." in said(answer)
    assert (answer.status_code, numbers()) == (200, [])


def test_a_version_is_where_the_next_one_begins(inside: Client) -> None:
    first = publish()
    page = inside.get(f"{PATH}?from={first.number}")
    assert RULES.strip().splitlines()[0] in unescape(page.content.decode())
    assert f"Keep the {len(CASES)} cases of policies 1" in said(page)
    changed = {"rules.cedar": RULES.replace("100000", "90000")}
    post(inside, changed, keep=str(first.number))
    made = PolicySet.objects.get(number=2)
    assert made.cases == first.cases
    assert "90000" in made.text
    assert inside.get(f"{PATH}?from=77").status_code == 404


def test_who_may_not_publish_reads_why_and_the_attempt_is_kept(client: Client, rhea: User) -> None:
    client.force_login(rhea)
    assert "to change them takes the role governance in every team" in said(client.get(PATH))
    assert post(client, {"a.cedar": RULES, "a.toml": WRITTEN}).status_code == 403
    entry = AuditEntry.objects.get(verb="policy.published")
    assert (entry.outcome, entry.by_name, numbers()) == ("denied", "rhea", [])


def test_each_policy_that_is_not_cedar_is_named_by_its_line(inside: Client) -> None:
    text = (
        '// not "this; one\n@id("a;b") permit(principal, action, resource);\n\n'
        "permit(principal action);\n@id(\"c\") forbid(principal, action, resource)\n when { 'x' };\n"
    )
    told = said(post(inside, {"a.cedar": text, "a.toml": WRITTEN}))
    assert re.findall(r"a\.cedar: line (\d+): this is not Cedar", told) == ["4", "5"]


@given(st.text(alphabet='permit(); "/\\\n@aé', max_size=60))
def test_looking_for_what_is_not_cedar_comes_to_an_end(text: str) -> None:
    assert all(one.startswith("line ") for one in rules._unreadable(text))
