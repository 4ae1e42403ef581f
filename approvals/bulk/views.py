"""The pages of bulk decisions: what is about to be decided, the post that asks for it, and the job with its summary."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.http import HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive
from django.views.decorators.http import require_POST, require_safe

from agents import errors
from agents.models import User
from agents.pages import PersonRequest, request_id
from approvals import duties
from approvals.bulk import choosing, grouping, jobs
from approvals.bulk.choosing import Choice
from approvals.bulk.models import BulkDecision, BulkItem
from approvals.learning import planting
from approvals.models import Approval, Decision
from approvals.queue import Filters

MOST_NAMED = 200


@require_safe
def new(request: PersonRequest) -> HttpResponse:
    """What would be decided, counted at this moment, and why some of it is left out."""
    at = timezone.now()
    choice = replace(_choice(request.GET), until=at)
    outlook = choosing.outlook(choice, request.actor) if _names_something(choice) else None
    context = {"choice": choice, "outlook": outlook, "at": at, "chunk": jobs.CHUNK, "codes": Decision.Code.choices}
    return render(request, "approvals/bulk/new.html", context)


@require_safe
def group(request: PersonRequest, approval_id: UUID) -> HttpResponseBase:
    """The requests that stand in one row, beside each other; once all are closed, the one that was named."""
    leader = get_object_or_404(
        Approval.objects.visible_to(request.actor).select_related("team", "release"), pk=approval_id
    )
    if not choosing.members(leader, request.actor).exists():
        return redirect("approvals:approval", leader.pk)
    return render(request, "approvals/bulk/group.html", shown(leader, request.actor))


def shown(leader: Approval, user: User) -> dict[str, Any]:
    """What the group of this request shows."""
    alike = choosing.members(leader, user)
    rows = alike.select_related("claimed_by", "run").defer("bound", "reasons", "run__input", "run__result")
    members = list(rows[: grouping.MOST_SHOWN])
    number = len(members) if len(members) < grouping.MOST_SHOWN else alike.count()
    return {
        "leader": leader,
        "table": grouping.table(members),
        "number": number,
        "codes": Decision.Code.choices,
        "refusal": duties.refusal_of_role(user, leader),
    }


@require_POST
def create(request: PersonRequest) -> HttpResponseBase:
    """Ask for it. Where everything was decided at once the inbox goes on; else the job says how far it is."""
    job = jobs.start(
        _choice(request.POST),
        answer=request.POST.get("answer", ""),
        code=request.POST.get("code", "") if request.POST.get("answer") == Decision.Answer.REJECT else "",
        reason=request.POST.get("reason", ""),
        by=request.actor,
        request_id=request_id(request.POST),
    )
    return redirect("approvals:bulk", job.pk)


@require_safe
def job(request: PersonRequest, bulk_id: UUID) -> HttpResponse:
    """How far it has come; in the end one summary, and what was left."""
    found = get_object_or_404(BulkDecision.objects.visible_to(request.actor).select_related("by"), pk=bulk_id)
    left = found.items.filter(state=BulkItem.State.LEFT).select_related("approval__agent").order_by("place")
    context = {"job": found, "left": left[:MOST_NAMED], "reasons": jobs.reasons(found) if found.left else ()}
    context |= {"open": jobs.still_open(found) if found.left else 0, "planted": planting.met_in(found)}
    part = "#job" if request.headers.get("HX-Target") == "job" else ""
    return render(request, f"approvals/bulk/job.html{part}", context)


def _choice(given: QueryDict) -> Choice:
    """What a form chose: ticked rows and groups, or (`all`) everything that its filters match; asked `until` then."""
    until = given.get("until", "")
    try:
        moment = parse_datetime(until) if until else None
    except ValueError:
        moment = None
    if until and (moment is None or is_naive(moment)):
        raise errors.Invalid("`until` must be a time such as 2025-11-21T09:30:00Z.", field="until")
    if not given.get("all"):
        return Choice(ids=_ids(given, "id"), groups=_ids(given, "group"), until=moment)
    filters = Filters.of({**QueryDict(given.get("filter", "")).dict(), "state": ""})
    return Choice(filters=filters, until=moment)


def _names_something(choice: Choice) -> bool:
    return choice.filters is not None or bool(choice.ids or choice.groups)


def _ids(given: QueryDict, name: str) -> list[UUID]:
    try:
        return [UUID(text) for text in given.getlist(name)]
    except ValueError:
        raise errors.Invalid(f"`{name}` must be the id of a request.", field=name) from None
