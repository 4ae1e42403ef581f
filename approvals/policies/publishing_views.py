"""The page that publishes policies: written or uploaded, checked as often as one likes, kept as a draft."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from agents import errors
from agents.pages import PersonRequest, request_id
from approvals.policies import authority, drafting, publishing, speaking
from approvals.policies.drafting import Draft
from approvals.policies.models import PolicySet


@require_http_methods(["GET", "HEAD", "POST"])
def publication(request: PersonRequest) -> HttpResponse:
    """The form, with the files of a version where the address names one; checked or published."""
    if request.method != "POST":
        return _page(request, drafting.begun(_version(request.GET.get("from", ""))))
    authority.require(request.actor, "policy.published", authority.ALL, request_id(request.POST))
    draft = _draft(request)
    try:
        files, given = draft.content()
        if "check" in request.POST:
            return _page(request, draft, passed=_passed(files, given))
        known = set(PolicySet.objects.values_list("pk", flat=True))
        made = publishing.publish(files, given, by=request.actor, request_id=request_id(request.POST))
    except errors.DomainError as error:
        return _page(request, draft, refused=error)
    messages.success(request, _told(made, is_new=made.pk not in known))
    return redirect(f"{reverse('policies:policies')}?version={made.number}")


def _draft(request: PersonRequest) -> Draft:
    posted = request.POST
    kept = _version(posted.get("keep", ""))
    return drafting.written(posted.getlist("name"), posted.getlist("text"), request.FILES.getlist("files"), kept)


def _version(number: str) -> PolicySet | None:
    """The version of that number; None where none is named."""
    if not number:
        return None
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise errors.Missing(f"There are no policies {number[:20]!r}; versions are numbers.")
    return publishing.numbered(int(number))


def _passed(files: dict[str, str], given: list[Any]) -> str:
    """What was checked; raises what is wrong."""
    engine = publishing.built(files, speaking.now())
    publishing.require_cases(engine, given)
    rules, number = len(engine.rules), len(given)
    counted = f"{rules} rule{'s' * (rules != 1)}, {number} case{'s' * (number != 1)}"
    return f"All as it must be: {counted}. Nothing is published yet."


def _told(made: PolicySet, *, is_new: bool) -> str:
    if is_new:
        number = len(made.cases)
        passed = "1 case passes" if number == 1 else f"{number} cases pass"
        return f"Policies {made.number} are published; {passed}. Nothing obeys them yet."
    return f"The same is published already: policies {made.number}, {made.get_state_display()}."


def _sentences(refused: errors.DomainError) -> list[str]:
    """A sentence for each thing that is wrong, without the lines that count them."""
    return [line for line in refused.message.splitlines() if not line.endswith((" problems:", " cases fail:"))]


def _page(
    request: PersonRequest, draft: Draft, *, passed: str = "", refused: errors.DomainError | None = None
) -> HttpResponse:
    context = {
        "draft": draft,
        "origin": draft.kept or _version(request.GET.get("from", "")),
        "passed": passed,
        "problems": _sentences(refused) if refused else [],
        "refusal": authority.refusal(request.actor),
    }
    return render(request, "approvals/policies/publication.html", context, status=refused.status if refused else 200)
