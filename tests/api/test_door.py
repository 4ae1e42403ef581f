"""What every door does alike: who is let in, what cannot be read, and that a refusal is always one JSON sentence."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Agent, Run, Team, Token, User
from agents.people import accounts
from agents.people.models import GRANTS, Permission
from cockpit.api import api
from tests import factories
from tests.api import stage
from tests.api.stage import API, Caller

CHANGES = [
    ("POST", "/runs/{run_id}/pause", Permission.STEER),
    ("DELETE", "/runs/{run_id}/pause", Permission.STEER),
    ("POST", "/runs/{run_id}/cancellation", Permission.STEER),
    ("POST", "/agents/{slug}/freeze", Permission.STEER),
    ("DELETE", "/agents/{slug}/freeze", Permission.STEER),
    ("POST", "/runs", Permission.START),
]
LOOKS = ["/runs/{run_id}", "/runs/{run_id}/steps", "/agents/{slug}"]
LISTS = ["/runs", "/agents", "/approvals", "/audit", "/fleet"]
WORDS = {"reason": "Because."}


def _body(path: str, agent: Agent) -> dict[str, str]:
    return {"agent": agent.slug, "objective": "x"} if path == "/runs" else WORDS


# --- who is let in ----------------------------------------------------------------------------------------------------
def test_without_a_token_nobody_gets_in_and_nobody_is_sent_to_a_page(anybody: Caller) -> None:
    response = anybody.call("GET", "/runs")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert json.loads(response.content)["error"]["code"] == "unauthenticated"


def _expired(team: Team) -> str:
    token, plain = accounts.create_token("late", role="viewer", owner=None, team=team, by=None)
    Token.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    return f"Bearer {plain}"


def _revoked(team: Team) -> str:
    token, plain = accounts.create_token("gone", role="viewer", owner=None, team=team, by=None)
    accounts.revoke_token(token, by=None)
    return f"Bearer {plain}"


@pytest.mark.parametrize(
    "header", [_expired, _revoked, "Bearer ck_made-up", "Bearer", "Bearer ", "Basic b2xnYTpvbGdh", "ck_made-up", "\xff"]
)
def test_a_token_that_opens_nothing_is_told_so(team: Team, header: Any) -> None:
    given = header if isinstance(header, str) else header(team)
    response = Caller().call("GET", "/runs", Authorization=given)
    assert response.status_code == 401
    assert "not known here, or was revoked, or has expired" in json.loads(response.content)["error"]["message"]


def test_the_word_bearer_is_read_in_any_case(viewer: Caller) -> None:
    lower = viewer.headers["Authorization"].replace("Bearer", "bearer")
    assert Caller().call("GET", "/runs", Authorization=lower).status_code == 200


def test_a_person_signed_in_uses_the_session_and_confirms_changes(olga: User, run: Run) -> None:
    browser = Caller(client=Client(enforce_csrf_checks=True))
    browser.client.force_login(olga)
    assert [item["id"] for item in browser.get("/runs")["items"]] == [str(run.pk)]
    browser.refused("POST", f"/runs/{run.pk}/pause", WORDS, status=403, code="csrf")
    run.refresh_from_db()
    assert run.state == "queued"
    browser.client.cookies[settings.CSRF_COOKIE_NAME] = "a" * 32
    browser.headers = {"X-CSRFToken": "a" * 32}
    assert browser.post(f"/runs/{run.pk}/pause", WORDS)["by"] == "olga"


def test_a_bad_token_is_not_made_good_by_a_session(olga: User) -> None:
    browser = Caller("ck_made-up")
    browser.client.force_login(olga)
    browser.refused("GET", "/runs", status=401, code="unauthenticated")


# --- what one may -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("method", "path", "permission"), CHANGES)
def test_every_change_needs_its_permission_and_what_one_cannot_see_is_not_there(
    team: Team, outsider: Caller, agent: Agent, paths: dict[str, str], method: str, path: str, permission: Permission
) -> None:
    address, body = path.format(**paths), _body(path, agent)
    for role in ("viewer", "operator", "reviewer", "manager", "governance", "admin"):
        if role not in GRANTS[permission]:
            error = stage.token(f"a-{role}", role, of=team).refused(method, address, body, status=403, code="forbidden")
            assert "may not" in error["message"]
    outsider.refused(method, address, body, status=404, code="not_found")
    run, agent = Run.objects.get(), Agent.objects.get()
    assert (run.state, agent.frozen_at) == ("queued", None)


@pytest.mark.parametrize("path", LOOKS)
def test_a_stranger_is_told_the_same_as_about_nothing(
    viewer: Caller, outsider: Caller, paths: dict[str, str], path: str
) -> None:
    viewer.get(path.format(**paths))
    hidden = outsider.refused("GET", path.format(**paths), status=404, code="not_found")
    nothing = outsider.refused("GET", path.format(run_id=uuid7(), slug="nobody"), status=404, code="not_found")
    assert hidden == nothing


@pytest.mark.parametrize("path", LISTS)
def test_lists_show_a_stranger_nothing(outsider: Caller, run: Run, path: str) -> None:
    about = [item for item in outsider.get(path)["items"] if item.get("by") != "elsewhere"]
    assert about == []


# --- lists ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ("limit=0", "limit", "1 or more"),
        ("limit=201", "limit", "200 or less"),
        ("limit=many", "limit", 'a whole number, not "many"'),
        ("limit=2&limit=3", "limit", "2 times"),
        ("cursor=nonsense", "cursor", "not one that this list gave"),
        ("cursor=cnVuOg", "cursor", "not one that this list gave"),
        ("cursor=%C3%A4", "cursor", "not one that this list gave"),
        ("cursor=a%00b", "cursor", "NUL"),
        ("stat=queued", "stat", "this takes limit, cursor"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_in_one_sentence(
    viewer: Caller, path: str, query: str, field: str, says: str
) -> None:
    error = viewer.refused("GET", f"{path}?{query}", status=422, code="invalid")
    assert error["field"] == field
    assert says in error["message"]


def test_a_cursor_belongs_to_its_kind_of_list(viewer: Caller, run: Run, agent: Agent) -> None:
    factories.run(agent)
    cursor = viewer.get("/runs?limit=1")["next_cursor"]
    for path in ("/agents", "/approvals", "/audit"):
        viewer.refused("GET", f"{path}?cursor={cursor}", status=422, code="invalid")


def test_doors_without_parameters_say_so(viewer: Caller, run: Run) -> None:
    error = viewer.refused("GET", f"/runs/{run.pk}?deep=yes", status=422, code="invalid")
    assert (error["field"], error["message"]) == ("deep", "`deep` is not known here; this takes none.")


# --- what cannot be read ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"reason=noisy", "not JSON"),
        (b'{"reason": "\xff"}', "not JSON"),
        (b'{"reason": NaN}', "NaN is no JSON value"),
        (b'{"reason": 1e999}', "larger than a number can be"),
        (b'{"reason": "a\\u0000b"}', "NUL"),
        (b'{"reason": "\\ud800"}', "surrogate"),
        (b'{"a\\u0000b": 1}', "NUL"),
        (b'{"reason": ' + b"[" * 80 + b"]" * 80 + b"}", "64 levels"),
        (b"[" * 100_000, "not JSON"),
        (b'{"reason": ' + b"1" * 5000 + b"}", "not JSON"),
    ],
)
def test_a_body_that_cannot_be_kept_is_refused_before_anything_else(
    operator: Caller, run: Run, body: bytes, says: str
) -> None:
    error = operator.refused("POST", f"/runs/{run.pk}/pause", body, status=400, code="bad_request")
    assert says in error["message"]


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"17", b"null", b""])
def test_a_body_is_an_object(operator: Caller, run: Run, body: bytes) -> None:
    error = operator.refused("POST", f"/runs/{run.pk}/pause", body, status=422, code="invalid")
    assert error["message"] == "The body must be a JSON object with reason and request_id."


def test_a_body_of_another_type_is_read_as_what_it_is(operator: Caller, run: Run) -> None:
    """`curl -d` says form, and sends JSON all the same."""
    path, headers = f"{API}/runs/{run.pk}/pause", operator.headers
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
        response = operator.client.generic("POST", path, json.dumps(WORDS), content_type=kind, headers=headers)
        assert response.status_code in (200, 409), response.content
        assert "error" not in json.loads(response.content) or "paused already" in response.content.decode()


def test_a_form_from_a_browser_is_told_that_it_cannot_be_read(olga: User, run: Run) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(olga)
    client.cookies[settings.CSRF_COOKIE_NAME] = "a" * 32
    path, kind = f"{API}/runs/{run.pk}/pause", "multipart/form-data"
    response = client.generic("POST", path, b"broken", content_type=kind, headers={"X-CSRFToken": "a" * 32})
    assert response.status_code == 400
    assert json.loads(response.content)["error"]["code"] == "bad_request"


def test_a_body_that_is_too_large(operator: Caller, run: Run) -> None:
    body = json.dumps({"reason": "x" * 2_700_000}).encode()
    operator.refused("POST", f"/runs/{run.pk}/pause", body, status=413, code="too_large")


# --- no such door -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/runs/", "/runs/17", f"/runs/{'0' * 32}/explode", "/agents/a%00b", "/docs"],
)
def test_what_is_no_door_is_not_found(viewer: Caller, path: str) -> None:
    viewer.refused("GET", path, status=404, code="not_found")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_method_that_a_door_does_not_know(viewer: Caller, method: str) -> None:
    response = viewer.call(method, "/runs")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "POST"}
    assert json.loads(response.content)["error"]["code"] == "method_not_allowed"


# --- our own faults ---------------------------------------------------------------------------------------------------
def test_a_bug_is_logged_under_an_id_and_says_nothing_of_itself(
    viewer: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr("agents.runs.api.cut", explode)
    response = viewer.call("GET", "/runs")
    assert response.status_code == 500
    error = json.loads(response.content)["error"]
    assert (error["code"], error["field"]) == ("internal", None)
    assert response.headers["X-Request-Id"] in error["message"]
    assert "secret" not in response.content.decode()
    assert response.headers["X-Request-Id"] in caplog.text
    assert "secret of the house" in caplog.text


def test_a_database_that_does_not_answer(viewer: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("connection refused at 10.0.0.1")

    monkeypatch.setattr("agents.runs.api.cut", away)
    error = viewer.refused("GET", "/runs", status=503, code="unavailable")
    assert "10.0.0.1" not in error["message"]


def test_every_kind_of_error_has_its_own_answer() -> None:
    """A domain error that some app adds is translated without a word here."""

    class Expired(errors.DomainError):
        """This has expired."""

        status = 410
        code = "expired"

    response = api.on_exception(None, Expired(field="token"))  # type: ignore[arg-type]  # handlers need no request
    assert response.status_code == 410
    expected = {"error": {"code": "expired", "message": "This has expired.", "field": "token"}}
    assert json.loads(response.content) == expected


def test_nothing_said_here_is_kept_by_caches(viewer: Caller, anybody: Caller) -> None:
    for response in (viewer.call("GET", "/runs"), anybody.call("GET", "/runs"), viewer.call("GET", "/nothing")):
        assert response.headers["Cache-Control"] == "no-store"
