"""Teams by their slug, as commands and releases name them."""

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug

from agents import errors, signals
from agents.people.models import Team, User


def named(slug: str, *, field: str = "team") -> Team:
    """The team of that slug, or one sentence that lists those there are."""
    team = Team.objects.filter(slug=slug).first()
    if team is None:
        known = ", ".join(Team.objects.order_by("slug").values_list("slug", flat=True))
        there_are = f"There are {known}." if known else "There is none yet."
        raise errors.Missing(f"There is no team called {slug!r}. {there_are}", field=field)
    return team


def found(slug: str, *, by: User | None) -> Team:
    """The team of that slug, made if there is none."""
    try:
        validate_slug(slug)
    except ValidationError:
        sentence = f"{slug!r} cannot be a team's slug: use letters, digits, - and _ without spaces."
        raise errors.Invalid(sentence, field="team") from None
    team, is_new = Team.objects.get_or_create(slug=slug, defaults={"name": slug.replace("-", " ").capitalize()})
    if is_new:
        signals.account_changed.send(Team, verb="team.created", about=team, by=by, reason="", detail={})
    return team
