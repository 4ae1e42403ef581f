"""What if: an act that somebody makes up, judged by the very gates that would judge it, by any version."""

import json
from dataclasses import dataclass
from typing import Any

from django import forms

from agents.contracts import Action, Confidence, Json, Source, Stance, Verdict
from agents.models import Agent, ToolGrant
from approvals.gates import TierGate
from approvals.policies import effective, gate, permissions
from approvals.policies.engine import Decision, only_asked
from approvals.policies.loaded import Loaded
from approvals.policies.requests import FLAGS
from approvals.policies.rules import Rule

MODEL = "model.call"
CIRCUMSTANCES = (*FLAGS, "customer_segment", "environment")
UNKNOWN, YES, NO = ("", "nobody knows"), ("yes", "yes"), ("no", "no")
LEVELS = [("", "nobody"), *((str(level), f"L{level}") for level in range(1, 5))]


class Supposition(forms.Form):
    """What is supposed of the act. `tools` are those that the agent was granted, its model first."""

    tool = forms.ChoiceField()
    arguments = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text='A JSON object, such as {"order": 4711, "amount": "184.00"}; of a model call nothing.',
    )
    confidence = forms.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        help_text="From 0 to 1; empty where nobody knows.",
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"), "This is a number from 0 to 1, such as 0.62."
        ),
    )
    attempt = forms.IntegerField(
        required=False,
        min_value=1,
        help_text="Which try it is; empty for the first.",
        error_messages=dict.fromkeys(("invalid", "min_value"), "This is a whole number, 1 for the first try."),
    )
    approved = forms.ChoiceField(required=False, choices=LEVELS, label="Approved by", help_text="At which level.")

    conflicting_results = forms.ChoiceField(
        required=False, choices=[UNKNOWN, YES, NO], help_text="The same read gave different results in the run."
    )
    abnormal_latency = forms.ChoiceField(
        required=False, choices=[UNKNOWN, YES, NO], help_text="A step of the run took much longer than usual."
    )
    customer_segment = forms.CharField(
        required=False, max_length=80, help_text="As the run's input says it, such as gold; empty where nobody knows."
    )
    environment = forms.ChoiceField(
        required=False, choices=[("", "that of the agent"), *Agent.Environment.choices], help_text="Where it acts."
    )

    def __init__(self, tools: list[str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choose: Any = self.fields["tool"]
        choose.choices = [(name, name) for name in tools]

    @property
    def circumstances(self) -> bool:
        """Whether anything is supposed of them, so that they are shown."""
        return self.is_bound and any(self.data.get(name) for name in CIRCUMSTANCES)

    def clean_arguments(self) -> Json:
        """An object, or nothing."""
        text = self.cleaned_data["arguments"].strip()
        try:
            given = json.loads(text) if text else {}
        except json.JSONDecodeError as error:
            raise forms.ValidationError(f"This is not JSON: {error.msg} in line {error.lineno}.") from error
        if not isinstance(given, dict):
            raise forms.ValidationError("Arguments are a JSON object: names and values in braces.")
        return given


@dataclass(frozen=True, slots=True)
class Answer:
    """The zone of the act, what each gate says, what the policies say in full, and which rules could make it another
    answer."""

    stance: Stance
    zone: str
    tier: Verdict
    policy: Decision | None
    said: str
    depends: list[Rule]

    @property
    def hue(self) -> str:
        """The colour class of the answer."""
        return permissions.WORDS[self.stance][0]

    @property
    def word(self) -> str:
        """The answer in a word."""
        return permissions.WORDS[self.stance][1]


def tools(agent: Agent) -> dict[str, ToolGrant | None]:
    """What an agent may use, by name; None stands for its model."""
    grants = ToolGrant.objects.filter(agent=agent, revoked_at=None).select_related("tool").order_by("tool_id")
    chain = agent.release.chain if agent.release else []
    model: dict[str, ToolGrant | None] = {MODEL: None} if chain else {}
    return model | {grant.tool_id: grant for grant in grants}


def skeleton(grant: ToolGrant | None) -> str:
    """The arguments that a tool requires, to be filled in."""
    if grant is None:
        return ""
    known, required = grant.tool.schema.get("properties", {}), grant.tool.schema.get("required", ())
    blanks: Json = {"integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
    return json.dumps({name: blanks.get(str(known.get(name, {}).get("type")), "") for name in required}, indent=1)


def answer(agent: Agent, grant: ToolGrant | None, supposed: Json, by: Loaded | None) -> Answer:
    """Judge it. `supposed` is the cleaned form, `by` the version asked, None where none is in force."""
    bundle = effective.bundle(agent)
    asked, level = _action(agent, bundle, grant, supposed), int(supposed.get("approved") or 0)
    tier = TierGate().ask(asked) if not level else Verdict(Stance.ALLOW)
    if by is None:
        return Answer(tier.stance, asked.zone, tier, None, "No policies are asked.", [])
    with only_asked():
        decision = by.judge(asked, team=agent.team.slug, level=level)
    verdict = gate.verdict(by, decision, asked)
    said = verdict.reason or f"Policy {by.number} lets it through."
    depends = permissions.conditional(by.engine, asked, agent.team.slug) if by.engine and not decision.errors else []
    return Answer(max(tier.stance, verdict.stance), asked.zone, tier, decision, said, depends)


def _action(agent: Agent, bundle: Json, grant: ToolGrant | None, supposed: Json) -> Action:
    sure = supposed.get("confidence")
    fields: Json = {
        "confidence": Confidence() if sure is None else Confidence(sure, Source.SELF_REPORTED),
        "attempt": supposed.get("attempt") or 1,
        "environment": supposed.get("environment") or agent.environment,
        "facts": _facts(supposed),
    }
    if grant is None:
        links = permissions.chain(bundle)
        return permissions.action(agent, bundle, MODEL, kind="model", arguments={"chain": links}, **fields)
    tier = permissions.tier_of(bundle, grant)
    fields |= {"arguments": supposed["arguments"], "writes": grant.tool.writes}
    return permissions.action(agent, bundle, grant.tool_id, tier=tier, **fields)


def _facts(supposed: Json) -> Json:
    """What is supposed to be known of the circumstances; what is not supposed, nobody knows."""
    flags = {name: supposed[name] == "yes" for name in FLAGS if supposed.get(name)}
    return flags | ({"customer_segment": segment} if (segment := supposed.get("customer_segment")) else {})
