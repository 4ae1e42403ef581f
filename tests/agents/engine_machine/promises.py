"""What the engine promises, whatever happens: about every write, about how things stand, and about how they end."""

import time
from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import F, Q, Sum

from agents.models import Agent, AgentMinute, AuditEntry, Run, Step, StepPayload
from agents.runs import rollups
from approvals.models import Approval, Decision
from finops.models import LedgerEntry
from tests.agents.engine_machine import record, world
from tests.agents.engine_machine.record import Write

NEXT: dict[str | None, set[str]] = {
    None: {"held", "intended", "done", "failed", "refused"},
    "held": {"held", "intended", "done", "refused", "cancelled"},
    "intended": {"intended", "done", "failed", "refused", "in_doubt", "cancelled"},
    "in_doubt": {"in_doubt", "intended", "done", "refused", "cancelled"},
}
"""How a step may move, as others see it: from one transaction to the next."""

OPEN = {"held", "intended", "in_doubt"}
Row = dict[str, Any]


class Promises:
    """Of one agent's runs; remembers what it has seen, for what must not change any more."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.read, self.known_deeds = record.mark(), 0
        self.live, self.asked = 0, 0
        self.unasked: Counter[tuple[UUID, int, int]] = Counter()
        self.closed: dict[tuple[UUID, int], Any] = {}
        self.audit = 0

    def are_kept(self) -> None:
        """Look at all that was written or done since the last look, and at how things stand now."""
        writes = record.since(self.read)
        for write in writes:
            self.read = write.id
            if write.noun == "agents_run" and write.before:
                run_moves(write.before, write)
        for write in record.by_transaction(writes):
            step_moves(write)
            self.nothing_starts_unasked(write)
            tiers_hold_from_the_next_step_on(write)
        changed = {write.run_id for write in writes} | {deed.run_id for deed in world.deeds[self.known_deeds :]}
        self.known_deeds = len(world.deeds)
        if changed:
            self.runs_stand_well(changed)
            self.audit_only_grows()

    def nothing_starts_unasked(self, write: Write) -> None:
        """After people said stop no act is intended; of what needs no intent one may be under way by then."""
        if not write.asked and not write.is_frozen:
            return
        before, after = write.before, write.after
        if after["state"] == "intended" and after["due_at"] is None:
            assert before, "no intent is written after a wish"
            assert (before["state"], before["attempt"]) == ("intended", after["attempt"]), "nor after a wish again"
        if before is None and after["state"] in {"done", "failed"}:
            key = (write.run_id, write.token, write.controls)
            self.unasked[key] += 1
            assert self.unasked[key] == 1, "no step starts after the driver could know of a wish"

    def audit_only_grows(self) -> None:
        before, self.audit = self.audit, AuditEntry.objects.count()
        assert self.audit >= before

    def runs_stand_well(self, changed: set[UUID]) -> None:
        steps, questions, bills = steps_of(changed), questions_of(changed), bills_of(changed)
        for run in Run.objects.filter(pk__in=changed).select_related("release"):
            mine = steps[run.pk]
            self.what_is_closed_stays(run, mine)
            steps_follow_the_plan(run, mine)
            whoever_waits_is_waited_for(run, mine, sorted(questions[run.pk]))
            whoever_has_ended_holds_nothing(run, mine)
            acts_are_taken_back(run, mine)
            deeds_have_one_key_and_leave(run, mine)
            assert bills[run.pk] == (run.cost, run.tokens_in, run.tokens_out, run.unpriced), "the ledger is the truth"
        self.live = Run.objects.filter(agent=self.agent).live().count()
        self.asked = Approval.objects.filter(agent=self.agent).open().count()

    def what_is_closed_stays(self, run: Run, steps: list[Row]) -> None:
        for step in steps:
            if step["state"] not in OPEN:
                assert self.closed.setdefault((run.pk, step["seq"]), step) == step
        known = {seq for run_id, seq in self.closed if run_id == run.pk}
        assert known <= {step["seq"] for step in steps}, "and none is lost"


def steps_of(runs: set[UUID]) -> dict[UUID, list[Row]]:
    """Steps with what went in and came out; but the moment of a wait, which stories may move."""
    found = defaultdict(list)
    payloads = StepPayload.objects.filter(run__in=runs).exclude(input__has_key="until")
    given = {(run_id, seq): rest for run_id, seq, *rest in payloads.values_list("run_id", "seq", "input", "output")}
    for step in Step.objects.filter(run__in=runs).order_by("run_id", "seq").values():
        found[step["run_id"]].append(step | {"payload": given.get((step["run_id"], step["seq"]))})
    return found


def questions_of(runs: set[UUID]) -> dict[UUID, list[int]]:
    """The steps that somebody is asked about."""
    found = defaultdict(list)
    for run_id, seq in Approval.objects.filter(run__in=runs).open().values_list("run_id", "seq"):
        found[run_id].append(seq)
    return found


def bills_of(runs: set[UUID]) -> dict[UUID, tuple[Decimal, int, int, int]]:
    """Dollars, tokens in, tokens out and unpriced calls of each run, by the ledger."""
    found: dict[UUID, list[tuple[Any, ...]]] = defaultdict(lambda: [(Decimal(0), 0, 0, 0)])
    entries = LedgerEntry.objects.filter(run__in=runs)
    for run_id, amount, tokens_in, tokens_out in entries.values_list("run_id", "amount", "tokens_in", "tokens_out"):
        found[run_id].append((amount or Decimal(0), tokens_in or 0, tokens_out or 0, amount is None))
    return {run_id: tuple(map(sum, zip(*found[run_id], strict=True))) for run_id in runs}


def run_moves(before: Row, write: Write) -> None:
    after = write.after
    assert before["state"] not in Run.ENDED, "nothing is written to a run that has ended"
    assert after["state"] == before["state"] or after["state"] in Run.NEXT[before["state"]]
    assert after["lease_token"] >= before["lease_token"]
    assert (after["finished_at"] is not None) is (after["state"] in Run.ENDED)
    for total in "cost", "tokens_in", "tokens_out", "unpriced":
        assert Decimal(after[total]) >= Decimal(before[total])
    is_taken = after["lease_until"] is not None and after["lease_token"] != before["lease_token"]
    if is_taken and before["lease_until"] is not None:
        assert before["lease_until"] < write.at.isoformat(), "nobody takes a run from a driver that holds it"


def step_moves(write: Write) -> None:
    before, after = write.before and write.before["state"], write.after["state"]
    if before is None and write.after["compensates"]:
        assert after in {"held", "intended", "in_doubt"}, "what cannot be taken back is asked about at once"
    elif (before, after) == ("intended", "held"):
        assert (write.before or {})["due_at"], "only what is to be tried again can become a question"
    else:
        assert after in NEXT.get(before, ()), f"a step went from {before} to {after}"
    assert (after in OPEN) is (write.after["finished_at"] is None)
    assert after == "intended" or write.after["due_at"] is None, "only what was intended is tried again"
    if write.before:
        assert write.after["attempt"] >= write.before["attempt"]


def tiers_hold_from_the_next_step_on(write: Write) -> None:
    """What people have made stricter is asked about; an intent that stood by then is carried out."""
    is_new = write.before is None or write.before["state"] != "intended"
    if is_new and write.after["state"] == "intended" and (write.tier or 0) >= 3 and not write.after["compensates"]:
        answered = Approval.objects.of_step(write.run_id, write.after["seq"]).filter(state__in=Approval.ALLOWING)
        assert answered.exists() or write.after["due_at"], "nobody was asked"


def steps_follow_the_plan(run: Run, steps: list[Row]) -> None:
    """Every step is the one that was planned at its place; only the last turn may have gaps."""
    planned = [(what, turn) for turn in run.release.bundle["turns"] for what in turn]
    steps = [step for step in steps if step["compensates"] is None]
    for step in steps:
        what = planned[step["seq"] - 1][0]
        assert step["name"] == {"wait": "wait", "model": "sim-small"}.get(what, f"world.{what}")
    seqs = [step["seq"] for step in steps]
    whole = len(seqs) if run.state in {"waiting", "completed"} else max((step["turn"] for step in steps), default=1) - 1
    assert seqs[:whole] == list(range(1, whole + 1))
    assert run.state != "completed" or len(seqs) == len(planned), "no step is lost"


def whoever_waits_is_waited_for(run: Run, steps: list[Row], asked: list[int]) -> None:
    waiting = [step["seq"] for step in steps if step["state"] in {"held", "in_doubt"} and step["answer"] is None]
    assert asked == waiting, "one question for each step that waits, and none besides"
    assert run.state != "waiting" or waiting or run.wake_at, "a run that waits for nothing would wait for ever"
    assert run.state in {"running", "compensating"} or (run.lease_until, run.lease_holder, run.asked) == (None, "", "")


def whoever_has_ended_holds_nothing(run: Run, steps: list[Row]) -> None:
    assert (run.finished_at is not None) is run.is_ended
    if run.is_ended:
        assert not {step["state"] for step in steps} & OPEN
        assert run.wake_at is None
        taken = sum(step["state"] != "cancelled" for step in steps)
        assert taken <= run.steps_done <= (len(steps) if run.ending else taken)


def acts_are_taken_back(run: Run, steps: list[Row]) -> None:
    """Where a run fails or is cancelled: what has a way back, the last act first, each once; never otherwise."""
    by_seq = {step["seq"]: step for step in steps}
    taken = [step for step in steps if step["compensates"]]
    assert run.ending or not taken, "only a run that ends otherwise than well takes its acts back"
    assert run.ending is None or run.state != "completed"
    order = [step["compensates"] for step in taken]
    assert order == sorted(set(order), reverse=True)
    owed = {}
    for step in steps:
        back = world.BACK.get(step["name"].removeprefix("world."))
        if back and step["state"] == "done":
            owed[step["seq"]] = f"world.{back}"
    for step in taken:
        assert by_seq[step["compensates"]]["state"] == "done", "what was not done is not taken back"
        assert step["name"] == owed[step["compensates"]]
    if run.is_ended and run.state != "completed":
        assert set(order) == set(owed), "nothing is skipped in silence"


def deeds_have_one_key_and_leave(run: Run, steps: list[Row]) -> None:
    for step in steps:
        done = world.deeds_of(run.pk, step["seq"])
        if not done:
            continue
        assert {deed.key for deed in done} == {f"{run.pk}:{step['seq']}"}
        assert len({deed.text for deed in done}) == 1
        assert done[0].what != "letter", "that is for people to do"
        if done[0].what in world.UNKEYED:
            assert len(done) <= 1 + times_found_absent(step), "what knows no key is not repeated"
        for deed in done:
            assert deed.allowed is None or deed.text in deed.allowed, "nobody had let this through"
        nothing_done_is_hidden(step)


def times_found_absent(step: Row) -> int:
    about = Q(approval__run_id=step["run_id"], approval__seq=step["seq"])
    return Decision.objects.filter(about, answer=Decision.Answer.ABSENT).count()


def nothing_done_is_hidden(step: Row) -> None:
    """A step that acted never reads as if it had not."""
    assert step["state"] != "held"
    if step["state"] == "cancelled":
        assert step["error_class"] == "in_doubt" or times_found_absent(step)
    if step["state"] == "refused":  # a person had ended the run over it, being told that nobody knows
        asked = Approval.objects.of_step(step["run_id"], step["seq"]).filter(kind=Approval.Kind.IN_DOUBT)
        assert asked.filter(state=Approval.State.REJECTED).exists()


def it_has_ended_well(run: Run) -> None:
    """Left in peace, whatever happened before."""
    assert run.is_ended, f"{run} is {run.state}, though nothing stands in its way"
    assert run.failure_class in {"", "poisoned", "stopped", "limit:deadline", "limit:steps"}
    for step in run.steps.filter(writes=True, state="done").exclude(name="world.letter"):
        assert world.deeds_of(run.pk, step.seq), "what is said to be done has happened"


def minutes_agree(agent: Agent) -> None:
    """What was counted minute by minute, with roll-ups coming at any time, is what there is: nothing twice."""
    ended, steps = Run.objects.filter(agent=agent, finished_at__isnull=False), Step.objects.filter(agent_id=agent.pk)
    expected = {
        "runs": ended.count(),
        "steps": steps.filter(finished_at__isnull=False).count(),
        "refusals": steps.filter(state="refused").count(),
    }
    for _ in range(100):  # a transaction anywhere, the server's own included, may hold the horizon for a moment
        rollups.roll_up()
        runs = Sum(F("runs_completed") + F("runs_failed") + F("runs_cancelled"), default=0)
        minutes = AgentMinute.objects.filter(agent=agent)
        counted = minutes.aggregate(runs=runs, steps=Sum("steps", default=0), refusals=Sum("refusals", default=0))
        if counted["runs"] >= expected["runs"] and counted["steps"] >= expected["steps"]:
            break
        time.sleep(0.02)
    assert counted == expected
