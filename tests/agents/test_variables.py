"""Variables of a prompt and the threshold of confidence, as a release may say them."""

from typing import Any

import pytest

from agents import errors
from agents.models import User
from agents.registry import publishing, variables
from tests.agents.releases import next_version

PROMPT = {"system": "Answer in a {{ tone }} tone, as {{name}} would; {{ 3 }} is not ours."}


def test_a_release_keeps_its_prompt_and_a_program_reads_it_filled_in(bundle: dict[str, Any], governor: User) -> None:
    spoken = {"tone": "friendly", "name": "Ann"}
    release = publishing.publish(next_version(bundle, prompts=PROMPT, variables=spoken), by=governor)
    assert release.bundle["prompts"] == PROMPT
    told = variables.filled(release.bundle)["prompts"]["system"]
    assert told == "Answer in a friendly tone, as Ann would; {{ 3 }} is not ours."


def test_a_bundle_without_them_is_the_same_as_before_there_were_any(bundle: dict[str, Any], governor: User) -> None:
    kept = publishing.publish(bundle, by=governor).bundle
    assert not {"variables", "thresholds"} & kept.keys()
    assert variables.filled(kept) is kept


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        ({"tome": "dry", "name": "Ann"}, "[prompts] system names {{ tone }}, which [variables] does not have. Did you"),
        ({"name": "Ann"}, 'Add tone = "…" to it.'),
        ({"tone": "dry", "name": "Ann", "length": "short"}, "[variables] length is named by no prompt"),
        ({"tone": "dry", "name": 3}, "[variables] name is 3"),
        ({"tone": "dry", "a-b": "x"}, "is no name of a variable"),
    ],
)
def test_what_does_not_fit_together_is_named(bundle: dict[str, Any], known: dict[str, Any], sentence: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        publishing.publish(next_version(bundle, prompts=PROMPT, variables=known), by=None)
    assert sentence in refused.value.message


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"confidence": 2}, "[thresholds] confidence is 2; it should be less than or equal to 1"),
        ({"confidense": 0.5}, "Did you mean confidence?"),
        ({"warehouse.burn": 0.5}, "[thresholds] warehouse.burn: warehouse.burn is not among tools."),
        (
            {"warehouse": {"burn": 0.5}},
            '[thresholds] warehouse is a table: write the name of a tool in quotes, "warehouse.burn',
        ),
        ({"warehouse.burn": 2}, "[thresholds] warehouse.burn is 2; it should be less than or equal to 1"),
    ],
)
def test_a_threshold_that_means_nothing_is_refused(bundle: dict[str, Any], table: Any, sentence: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        publishing.publish(next_version(bundle, thresholds=table), by=None)
    assert sentence in refused.value.message
