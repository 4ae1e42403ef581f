"""Pages of one person's notifications: the list behind the bell, when mail is wanted, and where links lead."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import trigger_client_event

from agents import errors
from agents.models import Permission
from agents.pages import PersonRequest
from approvals.models import Approval
from approvals.notify import choosing, links, reading
from approvals.notify.letters import zone_of
from approvals.notify.models import Preference

ROWS = 50


@require_safe
def notifications(request: PersonRequest) -> HttpResponse:
    """What concerns this person, the newest first."""
    found = reading.page(request.actor, limit=ROWS, cursor=request.GET.get("cursor", ""))
    shown = [(row, links.to(row.approval_id, at=timezone.now())) for row in found.rows if row.approval_id]
    context = {
        "rows": shown,
        "next_cursor": found.next_cursor,
        "unseen": reading.unseen(request.actor),
        "may_connect": request.actor.may_somewhere(Permission.CONNECT),
    }
    part = "#told" if request.htmx.target == "told" else ""
    return render(request, f"approvals/notifications.html{part}", context)


@require_safe
def count(request: PersonRequest) -> HttpResponse:
    """The figure on the bell; nothing when nothing is new."""
    unseen = reading.unseen(request.actor)
    text = "" if not unseen else f"{unseen}{'+' * (unseen == reading.MOST_COUNTED)}"
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


@require_POST
def seen(request: PersonRequest) -> HttpResponse:
    """All of it has been read."""
    reading.see(request.actor)
    return redirect("notify:notifications")


@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: PersonRequest) -> HttpResponse:
    """When this person wants mail; stored, by POST."""
    if request.method == "POST":
        posted = request.POST
        hour = posted.get("hour", "")
        if not hour.isdecimal():
            raise errors.Invalid("`hour` is one from 0 to 23.", field="hour")
        chosen = {name: posted.get(name, "") for name in ("mine", "rest")}
        choosing.choose(request.actor, hour=int(hour), email=posted.get("email"), **chosen)
        if not request.htmx:
            messages.success(request, "Stored: this is when you get mail.")
            return redirect("notify:settings")
    context = {
        "chosen": choosing.preference_of(request.actor),
        "email": request.actor.email,
        "whens": Preference.When.choices,
        "hours": [(hour, f"{hour:02}:00") for hour in range(24)],
        "their_zone": zone_of(request.actor).key,
    }
    part = "#mail" if request.htmx else ""
    answer = render(request, f"approvals/notification_settings.html{part}", context)
    stored = request.method == "POST"
    return trigger_client_event(answer, "toast", {"hue": "ok", "text": "Stored."}) if stored else answer


@require_safe
def open_request(request: PersonRequest, token: str) -> HttpResponseBase:
    """To the request that a link is about, for those who may see it. A stale link says so, and changes nothing else."""
    approval_id, until = links.read(token)
    approval = get_object_or_404(Approval.objects.visible_to(request.actor).only("pk", "says", "tool"), pk=approval_id)
    if until < timezone.now():
        return render(request, "approvals/stale_link.html", {"approval": approval, "until": until})
    reading.see(request.actor, approval.pk)
    return redirect("approvals:approval", approval.pk)
