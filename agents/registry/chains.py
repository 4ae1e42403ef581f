"""What a chain of models may look like: models first, then an earlier answer, then a person.

Apart from bundles because it is about the links together, and because the gateway knows the two last ones by name.
"""

from typing import Any

from agents import errors

CACHED = "cached"
"""The answer that the same question got before, if that is not too long ago."""

PERSON = "person"
"""Nobody answered: a person is asked what to do."""

OWN_KEYS = {CACHED: {"provider", "max_age_s"}, PERSON: {"provider"}}


def check(chain: list[dict[str, Any]], *, table: str = "models") -> None:
    """Raises `errors.Invalid` with the first thing that is wrong."""
    for number, link in enumerate(chain, 1):
        place, provider = f"[[{table}]] number {number}", link["provider"]
        if strange := sorted(set(link) - OWN_KEYS.get(provider, set(link))):
            raise _refusal(f"{place}, {strange[0]} means nothing of the provider {provider}.", table)
        if provider not in OWN_KEYS:
            _check_model(place, link, table)
        elif number == 1:
            raise _refusal(f"{place} is {provider}; a chain begins with a model.", table)
        before = [earlier["provider"] for earlier in chain[: number - 1]]
        if PERSON in before:
            raise _refusal(f"{place} comes after the person, who is always the last.", table)
        if CACHED in before and provider != PERSON:
            raise _refusal(f"{place} comes after cached; only the person does.", table)
        if provider == CACHED and "max_age_s" not in link:
            raise _refusal(
                f"{place}, max_age_s is missing: how many seconds old an answer may be, such as 3600.", table
            )


def _check_model(place: str, link: dict[str, Any], table: str) -> None:
    if "model" not in link:
        raise _refusal(f"{place}, model is missing: it takes the model's name.", f"{table}.model")
    if "max_age_s" in link:
        raise _refusal(f'{place}, max_age_s is for a link with provider = "{CACHED}".', table)


def _refusal(sentence: str, field: str) -> errors.Invalid:
    return errors.Invalid(sentence, field=field)
