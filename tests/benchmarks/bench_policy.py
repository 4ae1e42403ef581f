"""What it costs to ask the policies before an action: a hundred of them, through the gate that the engine asks.

Everything is timed that stands before an action: putting its facts to the rules, Cedar, and the verdict. A third of the
actions is allowed, a third is held (which takes a second evaluation), a third are model calls over a chain of two.
"""

import time
from dataclasses import replace
from itertools import islice

from agents.contracts import Action, Confidence, Source, Stance
from approvals.policies import loaded, publishing
from approvals.policies.gate import PolicyGate
from tests import factories, toolbox
from tests.approvals import questions
from tests.benchmarks.figures import Figure, percentile

assert toolbox  # its tools are in the catalogue
POLICIES, WARM, DECISIONS = 100, 500, 9_000
ASKS = """
@id("permit-{n}") permit(principal, action in Cockpit::Action::"zone_red", resource)
    when {{ principal.owner_team == "team-{n}" && context has confidence_bp && context.confidence_bp >= {n}00 }};
@id("forbid-{n}") forbid(principal, action == Cockpit::Action::"test.refund", resource)
    when {{ context.input.amount_minor > {n}00000 && resource.environment == "live" }};
@id("ask-{n}") @obligation("require_approval") @level("L{level}") @sla_minutes("30")
forbid(principal, action in Cockpit::Action::"zone_red", resource)
    when {{ context has amount_minor && context.amount_minor == {n} }} unless {{ context.approval_level >= {level} }};
"""
FIRST = """
@id("permit") permit(principal, action, resource);
@id("no-frozen") forbid(principal, action, resource) when { principal.frozen };
@id("ask-red") @obligation("require_approval") forbid(principal, action == Cockpit::Action::"test.refund", resource)
    when { context.input.amount_minor > 5000 } unless { context.approval_level >= 1 };
@id("eu") forbid(principal, action == Cockpit::Action::"model.call", resource)
    when { context has data_class && context.data_class == "personal" }
    unless { context has region && context.region == "eu" };
"""


def run() -> list[Figure]:
    """Enforce a hundred policies, then ask the gate again and again."""
    agent = factories.agent("payer")
    acts = actions(questions.action(questions.run(by=agent)))
    enforce(text())
    gate = PolicyGate()
    for turn in range(WARM):
        gate.ask(acts[turn % len(acts)])
    taken, worked, stances = [], [], dict.fromkeys(Stance, 0)
    for turn in range(DECISIONS):
        act = acts[turn % len(acts)]
        started, busy = time.perf_counter(), time.thread_time()
        verdict = gate.ask(act)
        worked.append((time.thread_time() - busy) * 1000)
        taken.append((time.perf_counter() - started) * 1000)
        stances[verdict.stance] += 1
    how = (
        f"p50 {percentile(taken, 0.5):.3f}, p99 {percentile(taken, 0.99):.3f}, of it processor p95 "
        f"{percentile(worked, 0.95):.3f}; {DECISIONS:,} through the gate, {POLICIES} policies: "
        f"{stances[Stance.ALLOW]:,} allowed, {stances[Stance.HOLD]:,} held; one process"
    )
    return [Figure("policy.decide_p95_ms", percentile(taken, 0.95), "ms", 1.0, "lower", how)]


def text() -> str:
    """A hundred policies."""
    blocks = (FIRST, *(ASKS.format(n=n, level=n % 4 + 1) for n in range(1, 1 + (POLICIES - 4) // 3)))
    return "".join(blocks)


def enforce(rules: str) -> None:
    """A version with these rules, in force."""
    case = {"name": "A note", "expect": "allow", "tool": "test.note", "arguments": {"text": "hello"}}
    made = publishing.publish({"bench.cedar": rules}, [case], by=None)
    publishing.enforce(made, by=None, reason="To be timed.")
    loaded.forget()
    held = loaded.enforced()
    assert held is not None
    assert held.engine is not None, held.problem
    assert len(held.engine.rules) == POLICIES


def actions(plain: Action) -> list[Action]:
    """A small refund, a larger one that is held, and a question to a model; sure in different degrees."""
    chain = [{"provider": "openai", "model": "large", "region": "eu"}, {"provider": "openai", "model": "small"}]
    kinds = [
        replace(plain, arguments={"order": "x", "amount": "9.00"}),
        replace(plain, arguments={"order": "x", "amount": "99.00"}),
        replace(plain, kind="model", name="large", arguments={"chain": chain}, tier=1, writes=False),
    ]
    sure = (Confidence(value / 100, Source.SELF_REPORTED) for value in range(1, 100))
    return [replace(kind, confidence=one) for one in islice(sure, 50) for kind in kinds]
