"""The pages of this app: the inbox, one question, what was asked about a step, and the post that decides."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseLocation, trigger_client_event

from agents.models import Permission, Run, User
from agents.pages import PersonRequest
from agents.people import proving
from approvals import forms, queue
from approvals import question as questions
from approvals.bulk import choosing
from approvals.bulk import views as bulk
from approvals.decisions import decide
from approvals.escalation import acknowledging
from approvals.learning import looks
from approvals.models import SLO, Approval
from approvals.queue import Filters

ROWS = 50
PAGE, INBOX, STEP = "page", "inbox", "step"
STATES = [
    (Approval.State.APPROVED, "Approved"),
    (Approval.State.EDITED, "Edited"),
    (Approval.State.REJECTED, "Rejected"),
    (Approval.State.EXPIRED, "Expired"),
    (Approval.State.SUPERSEDED, "No longer needed"),
    (queue.ALL, "All"),
]
CLAIMS = [(queue.MINE, "Mine"), (queue.FREE, "Nobody else's")]
KINDS = [
    (Approval.Kind.ACT, "Acts"),
    (Approval.Kind.IN_DOUBT, "In doubt"),
    (Approval.Kind.QUESTION, "Questions"),
    (Approval.Kind.SAMPLE, "Samples"),
]


@require_safe
def approvals(request: PersonRequest) -> HttpResponse:
    """The inbox: what waits on the left, one question on the right. All that is chosen stands in the address."""
    filters, cursor = Filters.of(request.GET.dict()), request.GET.get("cursor", "")
    page = queue.page(request.actor, filters, limit=ROWS, cursor=cursor)
    leader = _leader(request, page.rows)
    selected = None if leader else _selected(request.GET.get("selected", ""), page.rows)
    listed = {"filters": filters, "rows": page.rows, "next_cursor": page.next_cursor, "cursor": cursor or None}
    listed["may_decide"] = request.actor.may_somewhere(Permission.DECIDE)
    chosen = bool({"selected", "group"} & request.GET.keys())
    context = {**listed, "selected": selected, "leader": leader, "chosen": chosen}
    if request.htmx.target == "queue":
        return render(request, "approvals/approvals.html#queue", context)
    if leader:
        context |= bulk.shown(leader, request.actor)
    elif selected:
        approval = get_object_or_404(questions.whole(request.actor), pk=selected)
        if context["chosen"]:
            acknowledging.note(approval, by=request.actor)
        context |= _shown(approval, request.actor, place=INBOX, carried=filters.as_query)
    part = "#inbox" if request.htmx.target == "inbox" else ""
    return render(request, f"approvals/approvals.html{part}", context | _around(request.actor, filters))


@require_safe
def approval(request: PersonRequest, approval_id: UUID) -> HttpResponse:
    """One question on a page of its own, or as the fragment that another page shows."""
    found = get_object_or_404(questions.whole(request.actor), pk=approval_id)
    part = "#question" if (request.htmx.target or "").startswith("question-") else ""
    if not part:  # a page that renews itself is not somebody who looks
        acknowledging.note(found, by=request.actor)
    context = _shown(found, request.actor, **place_of(request.GET))
    return render(request, f"approvals/approval.html{part}", context)


@require_POST
def decision(request: PersonRequest, approval_id: UUID) -> HttpResponseBase:
    """Decide; the inbox goes on with the next question."""
    found = get_object_or_404(questions.whole(request.actor), pk=approval_id)
    proving.prove(request, request.actor)
    made = decide(found, by=request.actor, **forms.read(request.POST, found))
    place = place_of(request.POST)
    answer = _went_on(request, found, place["carried"]) if place["place"] == INBOX else stayed(request, found, place)
    is_open = Approval.objects.open().filter(pk=found.pk).exists()
    text = f"{'Your vote counts, and takes another' if is_open else made.past}: {found}"
    return trigger_client_event(answer, "toast", {"hue": "ok", "text": text}) if request.htmx else answer


@require_safe
def step(request: PersonRequest, run_id: UUID, seq: int) -> HttpResponse:
    """What people were asked about one step, for the page of its run."""
    get_object_or_404(Run.objects.visible_to(request.actor).only("pk"), pk=run_id)
    asked = questions.of_step(run_id, seq, request.actor)
    context = {"questions": asked, "seq": seq, "place": STEP, "carried": "", "slo": SLO, "now": timezone.now()}
    return render(request, "approvals/step.html", context)


@require_safe
def count(request: PersonRequest) -> HttpResponse:
    """The badge beside the room's name: how many questions this person may answer; nothing when there are none."""
    waiting = queue.waiting_for(request.actor)
    text = "" if not waiting else f"{waiting:,}{'+' * (waiting == queue.MOST_COUNTED)}"
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def _leader(request: PersonRequest, rows: Sequence[Approval]) -> Approval | None:
    """Whose group is shown: the one the address names, else the first row's where it stands for several."""
    if wanted := _selected(request.GET.get("group", ""), ()):
        seen = Approval.objects.visible_to(request.actor).select_related("agent", "team")
        found: Approval = get_object_or_404(seen, pk=wanted)
        return found if choosing.members(found, request.actor).exists() else None
    return rows[0] if rows and rows[0].more and not request.GET.get("selected") else None


def _selected(wanted: str, rows: Sequence[Approval]) -> UUID | None:
    """The question to show: the one the address names, else the first row."""
    if not wanted:
        return rows[0].pk if rows else None
    try:
        return UUID(wanted)
    except ValueError:
        raise Http404 from None


def _shown(found: Approval, user: User, *, place: str, carried: str) -> dict[str, Any]:
    """What the fragment `question` shows. `carried` are the filters of the list that it stands in."""
    asked = questions.brief(found, user)
    if found.is_open and not asked.refusal:
        looks.note(found, asked.story, by=user)
    return {"question": asked, "place": place, "carried": carried, "slo": SLO, "now": timezone.now()}


def _around(user: User, filters: Filters) -> dict[str, Any]:
    """What stands around the list: filters on offer, and how well questions are answered."""
    agents = sorted({*queue.agents_asking(user), *filter(None, [filters.agent])})
    offered = [(slug, slug) for slug in agents] if len(agents) > 1 or filters.agent else []
    kept = queue.timeliness(user, at=timezone.now())
    return {"states": STATES, "kinds": KINDS, "claims": CLAIMS, "agents": offered, "kept": kept}


def place_of(given: QueryDict) -> dict[str, str]:
    """Where a question stands, and with which filters around it, as its fragment carries them."""
    place, carried = given.get("place", PAGE), given.get("carried") or Filters.of(given.dict()).as_query
    return {"place": place if place in (PAGE, INBOX, STEP) else PAGE, "carried": carried}


def _went_on(request: PersonRequest, decided: Approval, carried: str) -> HttpResponseBase:
    """On to the next question, with the same filters."""
    filters = Filters.of(QueryDict(carried).dict())
    following = queue.following(decided, request.actor, filters)
    parts = filter(None, [filters.as_query, f"selected={following}" if following else ""])
    address = f"{reverse('approvals:approvals')}?{'&'.join(parts)}".rstrip("?")
    if request.htmx:
        return HttpResponseLocation(address, target="#inbox", swap="outerHTML")
    return redirect(address)


def stayed(request: PersonRequest, decided: Approval, place: dict[str, str]) -> HttpResponseBase:
    """The same question, decided; without script the page one came from."""
    if request.htmx:
        found = get_object_or_404(questions.whole(request.actor), pk=decided.pk)
        return render(request, "approvals/approval.html#question", _shown(found, request.actor, **place))
    if place["place"] == STEP:
        return redirect("agents:run", decided.run_id)
    return redirect("approvals:approval", decided.pk)
