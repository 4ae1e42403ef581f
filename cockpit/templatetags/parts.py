"""The parts of a page that are more than a class name, as tags. Each takes values, knows no app and sees nothing of
the page it stands in; its markup is in `templates/components/`, in a file of the same name.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from django import template
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

HUES = {"ok", "warn", "bad", "wait", "busy", "still"}


@register.simple_tag
def state(hue: str, word: object, *, pill: bool = False) -> SafeString:
    """`{% state run.hue run.get_state_display %}`: shape, word and hue; an unheard-of hue is a bug and says so."""
    if hue not in HUES:
        raise template.TemplateSyntaxError(f"A state badge takes one of {', '.join(sorted(HUES))}, not {hue!r}.")
    return format_html('<span class="state {}{}">{}</span>', hue, " pill" if pill else "", word)


@register.simple_tag
def request_id() -> SafeString:
    """A hidden key, new with every rendering of a form: pressed twice, the act happens once."""
    return format_html('<input type="hidden" name="request_id" value="{}">', uuid4())


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: object) -> str:
    """The present address with some parameters changed and the cursor dropped; None or "" removes one."""
    request: HttpRequest = context["request"]
    return address(request, **{"cursor": None, **changes})


def address(request: HttpRequest, **changes: object) -> str:
    """The address of this page with other parameters: state of a list lives there, so Back undoes it."""
    parameters = request.GET.copy()
    for name, value in changes.items():
        parameters.pop(name, None)
        if value not in (None, ""):
            parameters[name] = str(value)
    return f"{request.path}?{parameters.urlencode()}" if parameters else request.path


@register.inclusion_tag("components/chips.html", takes_context=True)
def chips(
    context: template.Context, name: str, choices: Sequence[tuple[Any, ...]], label: str, every: str = "All"
) -> dict[str, Any]:
    """Filters on offer for the parameter `name`: (value, word) or (value, word, count) each, and `every` for none."""
    request: HttpRequest = context["request"]
    offered = [("", every, None), *choices] if every else choices
    chosen = request.GET.get(name, "") or (str(offered[0][0]) if offered else "")
    return {
        "label": label,
        "chips": [
            {
                "href": address(request, cursor=None, **{name: value}),
                "word": word,
                "count": rest[0] if rest else None,
                "chosen": chosen == str(value),
            }
            for value, word, *rest in offered
        ],
    }


@register.inclusion_tag("components/pages.html", takes_context=True)
def pages(context: template.Context, next_cursor: str | None) -> dict[str, Any]:
    """Keyset paging: "Older" while there is more behind, "Newest" once the first page is left."""
    request: HttpRequest = context["request"]
    return {
        "newest": address(request, cursor=None) if request.GET.get("cursor") else "",
        "older": address(request, cursor=next_cursor) if next_cursor else "",
    }


@register.inclusion_tag("components/confirm.html")
def confirm(
    name: str,
    action: str,
    button: str,
    title: str,
    does: str = "",
    *,
    does_not: str = "",
    icon: str = "",
    harm: bool = False,
    reason: str = "required",
    word: str = "",
    target: str = "",
    swap: str = "outerHTML",
    small: bool = False,
    fields: str = "",
) -> dict[str, Any]:
    """A button and the dialog `name` that it opens: what the act does, what it does not, why; then a POST to `action`.

    `reason` is required, optional or none; `word` must be typed first (irreversible or fleet-wide acts); with `target`
    htmx posts and swaps, without it the page is left; `fields` is safe markup for inputs of its own.
    """
    return dict(locals())  # the component knows every value by the name it has here


@register.inclusion_tag("components/empty.html")
def empty(
    title: str,
    text: str = "",
    *,
    icon: str = "table",
    href: str = "",
    action: str = "",
    clear: str = "",
    code: str = "",
) -> dict[str, Any]:
    """A list without rows teaches the next step (`href` + `action`, or a command in `code`) or says which filter hides
    them (`clear`: the address without it)."""
    return dict(locals())


@register.inclusion_tag("components/figure.html")
def figure(
    name: str, value: object, note: object = "", *, href: str = "", hue: str = "", unit: str = ""
) -> dict[str, Any]:
    """One number of a strip (inside `.figures`); with `hue` the note is a state."""
    return {"name": name, "value": value, "note": note, "href": href, "hue": hue, "unit": unit}


@register.inclusion_tag("components/change.html")
def change(what: object, before: object, after: object) -> dict[str, Any]:
    """One thing before and after an act."""
    return {"what": what, "before": before, "after": after}


@register.inclusion_tag("components/field.html")
def field(bound: object) -> dict[str, Any]:
    """A field of a Django form: label, input, hint and what was wrong."""
    return {"field": bound}


@register.inclusion_tag("components/simulated.html")
def simulated(what: str = "simulated") -> dict[str, Any]:
    """The tag on everything that a simulated model made."""
    return {"what": what}


@register.inclusion_tag("components/skeleton.html")
def skeleton(rows: int = 5) -> dict[str, Any]:
    """Keeps the place of rows that are being fetched, so that nothing jumps."""
    return {"rows": range(rows)}
