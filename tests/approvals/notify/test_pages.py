"""The pages: the bell and its list, when mail is wanted, where links lead, and the endpoints of a team."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client
from django.utils import timezone

from agents.models import AuditEntry, Team, User
from approvals.models import Approval
from approvals.notify import links, outbox, reading, telling
from approvals.notify.models import Endpoint, Notification, Preference
from tests.approvals import questions
from tests.approvals.notify.receiving import Receiver

pytestmark = pytest.mark.django_db


def as_(user: User) -> Client:
    """A browser in which somebody is signed in."""
    client = Client()
    client.force_login(user)
    return client


def path_of(link: str) -> str:
    """A link without the host."""
    return "/" + link.split("/", 3)[3]


# --- the bell --------------------------------------------------------------------------------------------------------
def test_the_bell_counts_what_is_new_until_it_is_read(asked: Approval, rhea: User, olga: User) -> None:
    questions.held(asked.run, seq=3)
    telling.tell()
    client = as_(rhea)
    assert client.get("/notifications/count/").content == b"2"
    assert as_(olga).get("/notifications/count/").content == b""
    page = client.get("/notifications/").content.decode()
    assert page.count("Decision needed: Refund €184.00") == 2
    assert "2 new" in page
    [link, _] = re.findall(r'href="(http[^"]+/notifications/open/[^"]+)"', page)
    assert client.get(path_of(link)).status_code == 302
    assert reading.unseen(rhea) == 1, "opening one reads it"
    client.post("/notifications/seen/")
    assert client.get("/notifications/count/").content == b""
    assert "Nothing new" in client.get("/notifications/").content.decode()


def test_a_request_of_a_team_one_has_left_is_not_shown_any_more(asked: Approval, rhea: User) -> None:
    telling.tell()
    rhea.memberships.all().delete()
    page = as_(User.objects.get(pk=rhea.pk)).get("/notifications/").content.decode()
    assert "Refund" not in page
    assert "Nothing concerned you yet" in page


# --- links -----------------------------------------------------------------------------------------------------------
def test_a_link_opens_the_request_after_sign_in_and_decides_nothing(asked: Approval, rhea: User) -> None:
    path = path_of(links.to(asked.pk, at=timezone.now()))
    at_the_door = Client().get(path)
    assert (at_the_door.status_code, unquote(at_the_door["Location"])) == (302, f"/login/?next={path}")
    client = as_(rhea)
    for _ in range(2):
        assert client.get(path)["Location"] == f"/approvals/{asked.pk}/"
    asked.refresh_from_db()
    assert asked.is_open
    assert client.post(path).status_code == 405


def test_a_stale_link_says_so_and_still_leads_there_for_those_who_may_see_it(
    asked: Approval, rhea: User, stranger: User
) -> None:
    path = path_of(links.to(asked.pk, at=timezone.now() - timedelta(hours=24, seconds=1)))
    page = as_(rhea).get(path)
    assert page.status_code == 200
    assert "This link has ended" in page.content.decode()
    assert f'href="/approvals/{asked.pk}/"' in page.content.decode()
    assert as_(stranger).get(path).status_code == 404


def test_a_link_that_was_altered_leads_nowhere(asked: Approval, rhea: User) -> None:
    path = path_of(links.to(asked.pk, at=timezone.now()))
    other = path_of(links.to(questions.held().pk, at=timezone.now()))
    mixed = path.rpartition(":")[0] + ":" + other.rpartition(":")[2]
    for wrong in (mixed, path[:-5] + "/", "/notifications/open/nonsense/"):
        assert as_(rhea).get(wrong).status_code == 404


# --- mail ------------------------------------------------------------------------------------------------------------
def test_a_person_chooses_when_they_get_mail(rhea: User) -> None:
    client = as_(rhea)
    given = {"mine": "digest", "rest": "off", "hour": "17", "email": "rhea@example.com"}
    assert client.post("/notifications/settings/", given).status_code == 302
    rhea.refresh_from_db()
    assert rhea.email == "rhea@example.com"
    stored = Preference.objects.get()
    assert (stored.mine, stored.rest, stored.hour) == ("digest", "off", 17)
    assert '<option value="17" selected>17:00</option>' in client.get("/notifications/settings/").content.decode()
    for wrong in ({"mine": "now"}, {"hour": "24"}, {"hour": "noon"}, {"rest": ""}, {"email": "rhea"}):
        given = {"mine": "off", "rest": "off", "hour": "1"} | wrong
        assert client.post("/notifications/settings/", given).status_code == 422
    assert Preference.objects.get().hour == 17


def test_the_form_is_on_the_page_of_a_person_too(rhea: User) -> None:
    client = as_(rhea)
    assert 'hx-get="/notifications/settings/"' in client.get("/me/").content.decode()
    part = client.get("/notifications/settings/", headers={"HX-Request": "true"}).content.decode()
    assert part.strip().startswith("<form")


# --- endpoints -------------------------------------------------------------------------------------------------------
def test_a_webhook_is_added_tried_and_removed(governor: User, team: Team, receiver: Receiver) -> None:
    client = as_(governor)
    wanted = {"team": team.slug, "name": "Desk", "kind": "webhook", "address": f"{receiver.url}/hook"}
    page = client.post("/notifications/endpoints/new/", wanted).content.decode()
    [secret] = re.findall(r'value="(whsec_[^"]+)"', page)
    made = Endpoint.objects.get()
    assert secret not in made.secret
    home = f"/notifications/endpoints/{made.pk}/"
    assert secret not in client.get(home).content.decode()
    part = client.post(f"{home}test/", headers={"HX-Request": "true", "HX-Target": "endpoint"}).content.decode()
    assert f'hx-get="{home}"' in part, "it is kept live from its own address"
    outbox.deliver()
    assert "delivered" in client.get(home).content.decode()
    assert client.post(f"{home}removal/", {"reason": "Moved."}).status_code == 302
    assert "Desk" not in client.get("/notifications/endpoints/").content.decode()
    assert "Removed" in client.get(home).content.decode()
    assert client.post(f"{home}test/").status_code == 409
    verbs = ["endpoint.added", "endpoint.tested", "endpoint.removed"]
    assert (
        list(AuditEntry.objects.filter(verb__startswith="endpoint.").order_by("id").values_list("verb", flat=True))
        == verbs
    )
    assert secret not in str(list(AuditEntry.objects.values("detail")))


def test_one_that_is_off_says_so_and_can_be_switched_on(governor: User, hook: Endpoint) -> None:
    Endpoint.objects.filter(pk=hook.pk).update(off_at=timezone.now(), off_because="It says that it is gone (410).")
    client, home = as_(governor), f"/notifications/endpoints/{hook.pk}/"
    for path in ("/notifications/endpoints/", home):
        assert "It says that it is gone (410)." in client.get(path).content.decode(), path
    client.post(f"{home}activation/")
    hook.refresh_from_db()
    assert not hook.is_off
    assert "Switch on" not in client.get(home).content.decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": " "}, "`name` is what people call it"),
        ({"kind": "pigeon"}, "`kind` is one of webhook, slack, pagerduty, opsgenie, email"),
        ({"address": "https://10.0.0.1/"}, "inside a private network"),
        ({"address": "nowhere"}, "must be an address such as"),
        ({"secret": "easy"}, "must be whsec_"),
        ({"secret_env": "DATABASE_URL"}, "is a variable such as NOTIFY_SERVICE__OPS"),
        ({"kind": "opsgenie", "secret_env": "NOTIFY_FINANCE__OPS"}, "is a variable such as NOTIFY_SERVICE__OPS"),
        ({"facts": "birth"}, "`facts` can hold opened"),
        ({"kind": "pagerduty", "address": ""}, "`secret` is missing: the integration key"),
        ({"kind": "opsgenie", "secret": "k", "facts": "decided"}, "resolved by itself"),
        ({"kind": "slack", "address": "https://127.0.0.1/x"}, "inside a private network"),
        ({"kind": "email", "address": "nobody"}, "must be one such as ops@example.com"),
    ],
)
def test_what_cannot_be_right_is_one_sentence_and_nothing_is_stored(
    governor: User, team: Team, change: dict[str, str], words: str
) -> None:
    wanted = {"team": team.slug, "name": "Desk", "kind": "webhook", "address": "https://desk.example.com/"} | change
    answer = as_(governor).post("/notifications/endpoints/new/", wanted)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Endpoint.objects.exists()


def test_a_name_is_given_once_in_a_team(governor: User, hook: Endpoint) -> None:
    wanted = {"name": "DESK HOOK", "kind": "email", "address": "desk@example.com"}
    assert as_(governor).post("/notifications/endpoints/new/", wanted).status_code == 409


def test_others_see_no_endpoint_and_add_none(olga: User, stranger: User, hook: Endpoint) -> None:
    for user in (olga, stranger):
        client = as_(user)
        assert "desk hook" not in client.get("/notifications/endpoints/").content.decode()
        assert client.get(f"/notifications/endpoints/{hook.pk}/").status_code == 404
    assert as_(olga).get("/notifications/endpoints/new/").status_code == 403


def test_the_log_goes_on_behind_its_page(governor: User, hook: Endpoint) -> None:
    sent: list[Any] = [
        Notification(channel="endpoint", endpoint=hook, about="opened", title=f"Message {n}", state="delivered")
        for n in range(60)
    ]
    Notification.objects.bulk_create(sent)
    client, home = as_(governor), f"/notifications/endpoints/{hook.pk}/"
    first = client.get(home).content.decode()
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older is not None
    assert "Message 59" in first
    assert "Message 9<" not in first
    assert "Message 9<" in client.get(older[1].replace("&amp;", "&")).content.decode()
