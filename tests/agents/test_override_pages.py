"""Overrides on pages: the form, what is in force, taking it back, the mark in lists, what a step ran with."""

import pytest
from django.test import Client
from uuid_utils.compat import uuid7

from agents.models import Override, Role, Run, User
from tests import factories
from tests.agents.test_run_pages import signed_in, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(olga: User) -> Client:
    """A browser in which olga is signed in."""
    return signed_in(olga)


@pytest.fixture(params=["run", "agent"])
def path(request: pytest.FixtureRequest, run: Run) -> str:
    """The page of a run, and of its agent."""
    return f"/runs/{run.pk}/" if request.param == "run" else f"/agents/{run.agent.slug}/"


def change(client: Client, path: str, **fields: str) -> None:
    given = {"parameter": "limits.steps", "value": "5", "reason": "it goes in circles", "request_id": str(uuid7())}
    answer = client.post(f"{path}overrides/", given | fields)
    assert (answer.status_code, answer["Location"]) == (302, path)


def test_a_parameter_is_changed_shown_and_taken_back(client: Client, path: str) -> None:
    form = text(client, f"{path}overrides/")
    assert "limits.steps · now 20" in form
    change(client, path, lasts="8h")
    page = text(client, path)
    assert "<del>20</del>" in page
    assert "<ins>5</ins>" in page
    assert "“it goes in circles”" in page
    assert "Back by itself in" in page
    client.post(f"{path}overrides/reversion/", {"parameter": "limits.steps"})
    assert "<ins>5</ins>" not in text(client, path)
    assert Override.objects.get().ended_by is not None


def form_of(client: Client, path: str) -> tuple[str, str]:
    """The form for a number of steps, and what it says that it would replace."""
    form = text(client, f"{path}overrides/?parameter=limits.steps")
    return form, form.partition('name="over" value="')[2].partition('"')[0]


def test_the_form_says_what_holds_now_and_who_made_it_so(client: Client, path: str) -> None:
    assert form_of(client, path)[1] == "limits.steps:"
    change(client, path)
    form, over = form_of(client, path)
    assert "limits.steps · now 5<" in form
    assert "By the release it is 20. Now it is 5, by olga until" in form
    assert "“it goes in circles” Yours takes its place." in form
    assert over == f"limits.steps:{Override.objects.get().pk}"


def test_the_form_says_which_of_several_thresholds_holds(client: Client, run: Run) -> None:
    run.release = factories.release(run.agent, tools=["test.note"], thresholds={"confidence": 0.5, "test.note": 0.7})
    run.save(update_fields=["release"])
    run.agent.release = run.release
    run.agent.save(update_fields=["release"])
    mine, theirs = f"/runs/{run.pk}/", f"/agents/{run.agent.slug}/"
    form = text(client, f"{mine}overrides/?parameter=thresholds.test.note")
    assert "By the release it is 0.7." in form
    assert "All tools are held to" not in form
    change(client, mine, parameter="thresholds.confidence", value="0.6")
    change(client, theirs, parameter="thresholds.confidence", value="0.9")
    form = text(client, f"{mine}overrides/?parameter=thresholds.confidence")
    assert "Now it is 0.9, for every run of its agent, by olga" in form
    assert (
        "Of it and yours the stricter holds. A stricter one holds for tools with a threshold of their own too." in form
    )
    own = Override.objects.get(run=run)
    assert f'name="over" value="thresholds.confidence:{own.pk}"' in form, "and it is that one which is replaced"
    form = text(client, f"{mine}overrides/?parameter=thresholds.test.note")
    assert "By the release it is 0.7. All tools are held to 0.9 for a time; of both the stricter holds." in form


def test_of_two_people_who_change_it_at_once_the_second_is_told_and_changes_nothing(client: Client, path: str) -> None:
    ada = signed_in(factories.person("ada", Role.ADMIN))
    _, seen = form_of(ada, path)
    change(client, path, over=seen)
    change(client, path, parameter="limits.tokens", value="900", over=seen)  # chosen without script: nothing was shown
    theirs = {"parameter": "limits.steps", "value": "9", "reason": "nine will do", "over": seen}
    answer = ada.post(f"{path}overrides/", theirs)
    assert answer.status_code == 409
    assert "olga has changed limits.steps to 5 meanwhile: “it goes in circles” Look again." in answer.content.decode()
    change(ada, path, **theirs | {"over": form_of(ada, path)[1]})
    assert list(Override.objects.filter(parameter="limits.steps", ended_at=None).values_list("value", flat=True)) == [9]
    _, stale = form_of(client, path)
    ada.post(f"{path}overrides/reversion/", {"parameter": "limits.steps"})
    again = client.post(f"{path}overrides/", theirs | {"over": stale})
    assert "has gone back to what the release says meanwhile" in again.content.decode()


def test_the_form_of_a_run_tells_what_holds_for_its_agent_and_does_not_replace_it(client: Client, run: Run) -> None:
    change(client, f"/agents/{run.agent.slug}/")
    form, over = form_of(client, f"/runs/{run.pk}/")
    assert "Now it is 5, for every run of its agent, by olga" in form
    assert "takes its place" not in form
    change(client, f"/runs/{run.pk}/", value="4", over=over)
    assert Override.objects.filter(ended_at=None).count() == 2


def test_the_value_is_asked_for_as_the_parameter_is(client: Client, path: str) -> None:
    answer = client.get(
        f"{path}overrides/?parameter=models", headers={"HX-Request": "true", "HX-Target": "override-value"}
    )
    said = answer.content.decode()
    assert "<option>simulated/sim-small</option>" in said
    assert "<html" not in said


def test_what_holds_for_the_agent_is_told_on_the_run_and_taken_back_on_the_agent(client: Client, run: Run) -> None:
    change(client, f"/agents/{run.agent.slug}/")
    page = text(client, f"/runs/{run.pk}/")
    assert "for every run of" in page
    assert 'id="revert-limits-steps"' not in page


def test_lists_mark_what_is_changed(client: Client, run: Run) -> None:
    mark = ">overridden</span>"
    lists = ("/", "/agents/", "/runs/")
    assert [mark in text(client, path) for path in lists] == [False, False, False]
    change(client, f"/agents/{run.agent.slug}/")
    assert [mark in text(client, path) for path in lists] == [True, True, False]
    change(client, f"/runs/{run.pk}/")
    assert mark in text(client, "/runs/")


def test_a_step_says_what_was_changed_when_it_was_taken(client: Client, run: Run) -> None:
    changed = [{"id": str(uuid7()), "parameter": "limits.cost_usd", "value": "0.20"}]
    factories.step(run, in_force={"release": "1.0", "overrides": changed})
    assert "limits.cost_usd $0.20" in text(client, f"/runs/{run.pk}/?step=1")


def test_who_may_not_is_offered_nothing(rhea: User, max_: User, path: str) -> None:
    assert "Override…" not in text(signed_in(rhea), path)
    assert "Override…" in text(signed_in(max_), path)


def test_a_form_that_says_nothing_right_is_refused(client: Client, path: str) -> None:
    for wrong in ({"lasts": "for ever"}, {"value": "many"}, {"reason": " "}, {"parameter": "colour"}):
        given = {"parameter": "limits.steps", "value": "5", "reason": "why", **wrong}
        assert client.post(f"{path}overrides/", given).status_code == 422, wrong
    assert not Override.objects.exists()
