"""The pages that change which policies hold: trying a version, enforcing it after what it would have done was shown,
and going back."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from agents import errors
from agents.pages import PersonRequest, reason_and_request_id
from agents.people import proving
from approvals.policies import authority, comparing, previewing, publishing, speaking
from approvals.policies.models import PolicySet

USUAL, PERIODS = 7, {"1": "1 day", "30": "30 days"}
State = PolicySet.State


@require_POST
def trial(request: PersonRequest, number: int) -> HttpResponse:
    """Judge everything with this version too; nothing obeys it."""
    publishing.log_only(publishing.numbered(number), by=request.actor, **reason_and_request_id(request.POST))
    return _shown(number)


@require_http_methods(["GET", "HEAD", "POST"])
def enforcement(request: PersonRequest, number: int) -> HttpResponse:
    """What a version would have done, and the form that lets it hold."""
    found = publishing.numbered(number)
    if refused := _posted(request, lambda **given: publishing.enforce(found, **given)):
        return _page(request, "enforcement", refused, _report(request, found))
    return _shown(number) if request.method == "POST" else _page(request, "enforcement", None, _report(request, found))


@require_http_methods(["GET", "HEAD", "POST"])
def roll_back(request: PersonRequest) -> HttpResponse:
    """What would hold again, and the form that goes back to it."""
    given = request.POST.get("number", "")
    number = int(given) if given.isascii() and given.isdigit() and len(given) <= 9 else 0
    if refused := _posted(request, lambda **said: publishing.roll_back(number=number, **said)):
        return _page(request, "roll_back", refused, _way_back())
    if request.method == "POST":
        return redirect("policies:policies")
    return _page(request, "roll_back", None, _way_back())


def _posted(request: PersonRequest, change: Any) -> errors.DomainError | None:
    """Change what holds as the form says. What is refused is said in the form, which keeps what was written."""
    if request.method != "POST":
        return None
    try:
        if not authority.refusal_to_decide(request.actor):  # else the verb says so, and keeps the attempt
            proving.prove(request, request.actor)
        change(by=request.actor, **reason_and_request_id(request.POST))
    except errors.DomainError as error:
        return error
    return None


def _page(request: PersonRequest, name: str, refused: errors.DomainError | None, shown: dict[str, Any]) -> HttpResponse:
    """Never what policies do to acts of every team for somebody who governs only some."""
    if why := authority.refusal(request.actor):
        raise errors.Forbidden(why)
    context = {
        **shown,
        "refused": refused.message if refused else "",
        "refusal": authority.refusal_to_decide(request.actor),
        "proof": proving.wanted(request.actor),
        "reason": request.POST.get("reason", ""),
    }
    return render(request, f"approvals/policies/{name}.html", context, status=refused.status if refused else 200)


def _report(request: PersonRequest, found: PolicySet) -> dict[str, Any]:
    """What a version would have done on real actions, and what is different from the one that holds."""
    if authority.refusal(request.actor):
        return {}
    asked = request.GET.get("days", "")
    days = int(asked) if asked in PERIODS else USUAL
    held = publishing.enforced()
    engine, problem = previewing.engine_of(found)
    return {
        "chosen": found,
        "held": held,
        "problem": problem,
        "is_enforceable": engine is not None and found.state != State.ENFORCED,
        "report": previewing.preview(engine, days=days, most=previewing.AT_ONCE) if engine else None,
        "days": days,
        "usual": f"{USUAL} days",
        "periods": list(PERIODS.items()),
        "lines": list(comparing.differences(held, found)) if held and held != found else [],
        "has_old_tools": found.surface != speaking.now(),
    }


def _way_back() -> dict[str, Any]:
    held = publishing.enforced()
    before = held.replaced if held else None
    return {
        "held": held,
        "before": before,
        "lines": list(comparing.differences(held, before)) if held and before else [],
    }


def _shown(number: int) -> HttpResponse:
    return redirect(f"{reverse('policies:policies')}?version={number}")
