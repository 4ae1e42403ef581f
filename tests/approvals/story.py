"""Two steps of one run and everybody who has a say in them, for the machine that tries every order of events.

A story keeps by hand what may happen: which digest people let through for each step and how many of them, what they let
through for the rest of the run, and which rules hold. What the gates let through is compared with that.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors, signals
from agents.contracts import Action, Answer, Stance
from agents.models import Run, Step
from agents.people.assurance import Assurance, Door, fresh_for
from agents.runs import gates
from approvals import claiming, delegating, integrity
from approvals.bulk import jobs
from approvals.bulk.choosing import Choice
from approvals.escalation import expiring
from approvals.models import Approval, BulkDecision, BulkItem, Decision, PolicySet, RunGrant
from approvals.policies import loaded, publishing
from approvals.run_grants import grants
from tests import factories
from tests.approvals import questions
from tests.approvals.threads import FACTORS, HANDS, MUCH, OTHERS, SEQS, Thread, agrees, person


class Story:
    """Two steps of one run. Each method is something that happens, and says what must come of it."""

    def __init__(self, published: dict[str, PolicySet]) -> None:
        self.people = {name: person(name) for name in (*HANDS, *OTHERS)}
        worker = factories.agent(owner=self.people["owner"])
        self.run = questions.run(worker, started_by=self.people["starter"])
        self.published, self.in_force = published, ""
        self.threads = {seq: Thread(seq) for seq in SEQS}
        self.last: tuple[Approval, dict[str, Any], Decision] | None = None
        self.grants: dict[str, bool] = {}  # by id: whether it counts
        self.job: BulkDecision | None = None
        self.inside: set[str] = set()  # in the browser, with an app
        self.fresh: set[str] = set()  # who have shown it just now
        self.reached: set[str] = set()
        PolicySet.objects.filter(state="enforced").update(state="retired")
        loaded.forget()
        for seq in SEQS:
            questions.store(questions.action(self.run, seq=seq), state=Step.State.INTENDED)

    # --- what holds ---------------------------------------------------------------------------------------------------
    def act(self, seq: int, amount: str) -> Action:
        """The act as a driver plans it."""
        return questions.action(self.run, seq=seq, arguments={"order": "4711", "amount": amount})

    def digest(self, act: Action) -> str:
        return integrity.digest(integrity.bound(act), act.arguments)

    def is_denied(self, amount: str) -> bool:
        return self.in_force == "strict" and amount == MUCH

    def votes_for(self, amount: str) -> int:
        """How many people the rules want now."""
        return 2 if self.in_force == "careful" and amount == MUCH else 1

    def level_for(self, amount: str) -> int:
        """How sure the rules want to be now of who they are."""
        return 2 if self.in_force == "sure" and amount == MUCH else 1

    def takes_one(self, amount: str) -> bool:
        """Whether any one who may decide is enough."""
        return self.votes_for(amount) == self.level_for(amount) == 1

    def is_covered(self, act: Action, amount: str) -> bool:
        """Whether somebody let this through for the rest of the run, under the rules that hold."""
        for grant in RunGrant.objects.filter(pk__in=[key for key, counts in self.grants.items() if counts]):
            is_same = grant.bound == integrity.bound(act)
            if is_same and self.takes_one(amount) and float(grant.records[0]["amount"]) >= float(amount):
                return True
        return False

    def other_rules(self, which: str) -> None:
        """Other policies are enforced, or what held before them again."""
        if which == "back":
            if not self.in_force:
                return
            back = publishing.roll_back(by=None, reason="Too much.")
            self.in_force = next((name for name, one in self.published.items() if one == back), "")
        elif which != self.in_force:
            publishing.enforce(PolicySet.objects.get(pk=self.published[which].pk), by=None, reason="It was tried.")
            self.in_force = which
        loaded.forget()

    # --- the driver ---------------------------------------------------------------------------------------------------
    def the_driver_plans(self, seq: int, amount: str, meanwhile: str) -> None:
        act, thread = self.act(seq, amount), self.threads[seq]
        is_covered = self.is_covered(act, amount)
        verdict = gates.judge(act)
        expected = Stance.DENY if self.is_denied(amount) else Stance.ALLOW if is_covered else Stance.HOLD
        assert verdict.stance == expected
        thread.noted = act.facts.get(grants.FACT)
        if meanwhile:
            self.other_rules(meanwhile)
        if verdict.stance == Stance.HOLD:
            signals.step_held.send(Step, action=act, verdict=verdict)
            self.is_asked(act, Step.State.HELD)

    def nobody_knows_whether_it_happened(self, seq: int, amount: str) -> None:
        act = self.act(seq, amount)
        signals.step_doubted.send(Step, action=act)
        self.is_asked(act, Step.State.IN_DOUBT)

    def is_asked(self, act: Action, state: str) -> None:
        Step.objects.filter(run=self.run, seq=act.seq).update(state=state, answer=None)
        question = questions.latest(act)
        assert question.digest == self.digest(act)
        self.threads[act.seq].waits(question)

    def the_driver_dispatches(self, seq: int, amount: str, answered: bool, ends: str) -> None:
        act, thread = self.act(seq, amount), self.threads[seq]
        if answered:
            act = replace(act, answer=Answer("approved", None, "rhea"))
        elif thread.noted:
            act.facts[grants.FACT] = thread.noted
        may = self.may_happen(act, amount)
        try:
            with transaction.atomic():
                gates.admit(act)
        except (errors.Forbidden, errors.Conflict):
            assert not may
            return
        assert may
        self.reached.add("grant" if grants.FACT in act.facts else f"L{thread.level}, {thread.votes} votes")
        if ends != "died":
            signals.act_performed.send(Run, run_id=self.run.pk, seq=seq, state=ends)
        if ends in ("done", "failed"):
            thread.allowed = ""

    def may_happen(self, act: Action, amount: str) -> bool:
        """The invariant: for exactly this, now, by as many as the rules want."""
        thread, digest = self.threads[act.seq], self.digest(act)
        if self.is_denied(amount):
            return False
        if noted := act.facts.get(grants.FACT):
            return self.grants[noted["id"]] and noted["digest"] == digest and self.takes_one(amount)
        is_enough = thread.votes >= self.votes_for(amount) and thread.level >= self.level_for(amount)
        return digest == thread.allowed and is_enough

    def nobody_needs_an_answer(self, seq: int) -> None:
        signals.step_closed.send(Run, run_id=self.run.pk, seq=seq, reason="The run was cancelled.")
        self.threads[seq].allowed = ""

    # --- people -------------------------------------------------------------------------------------------------------
    def somebody_presses(self, seq: int, amount: str, who: str, answer: str, saw: str, for_run: bool) -> None:
        thread, by = self.threads[seq], self.people[who]
        now = thread.now()
        if now is None:
            return
        seen = {"now": thread.ballot, "before": now.digest, "nothing": ""}[saw]
        given: dict[str, Any] = {"answer": answer, "digest": seen, "by": by, "request_id": uuid7()}
        given["arguments"] = {"order": "4711", "amount": amount} if answer == "edit" else None
        given["outcome"] = {"receipt": 7} if answer == "outcome" else None
        given["for_run"] = for_run and answer in ("approve", "edit")
        fits = self.may_vote(now, who) and answer in now.answers and self.has_seen(thread, answer, seen)
        fits = fits and (answer != "edit" or self.may_be_edited(now, amount))
        fits = fits and not (given["for_run"] and (now.votes_needed > 1 or now.level > 1))
        if not fits:
            with pytest.raises(errors.DomainError if who in HANDS else errors.Forbidden):
                questions.settle(now, **given)
            return
        decision = questions.settle(now, **given)
        thread.counts(decision, who)
        self.last = now, given, decision
        if given["for_run"]:
            self.grants[str(RunGrant.objects.get(decision=decision).pk)] = True

    def may_vote(self, now: Approval, who: str) -> bool:
        """Whether this person can answer this question at all."""
        is_sure = now.level == 1 or who in self.fresh
        return is_sure and now.held_by in (None, self.people[who]) and self.may_hold(now, who)

    def may_hold(self, now: Approval, who: str) -> bool:
        """Whether it could be theirs to answer, once they have shown what it takes."""
        return now.is_open and not self.is_barred(now, who)

    def is_barred(self, now: Approval, who: str) -> bool:
        """Whether these are the wrong hands, have voted, or do not sit where they can show a second factor."""
        has_voted = now.is_open and now.votes_needed > 1 and HANDS.get(who) in self.threads[now.seq].voters
        return who not in HANDS or has_voted or (now.level > 1 and who not in self.inside)

    def they_show_a_factor(self, who: str) -> None:
        """They come in, through a door of theirs, and show it where they have one."""
        door, shown = Door.TOKEN if who == "rheas token" else Door.BROWSER, who in FACTORS
        self.people[who].assurance = Assurance(door, timezone.now() if shown else None)
        if shown:
            self.inside.add(who)
            self.fresh.add(who)

    def that_was_long_ago(self) -> None:
        """They are still there, and what they have shown counts no longer."""
        for who in self.fresh:
            self.people[who].assurance = Assurance(Door.BROWSER, timezone.now() - fresh_for())
        self.fresh.clear()

    def has_seen(self, thread: Thread, answer: str, seen: str) -> bool:
        return seen == thread.ballot or (not seen and (thread.round == 1 or answer != "approve"))

    def may_be_edited(self, now: Approval, amount: str) -> bool:
        is_asked = self.votes_for(amount) <= now.votes_needed and self.level_for(amount) <= now.level
        return is_asked and not self.is_denied(amount)

    def the_same_request_comes_again(self) -> None:
        if self.last is not None:
            approval, given, decision = self.last
            assert questions.settle(Approval.objects.get(pk=approval.pk), **given) == decision

    def somebody_claims(self, seq: int, who: str, reason: str) -> None:
        now = self.threads[seq].now()
        if now is None:
            return
        by = self.people[who]
        is_free = now.held_by in (None, by) or bool(reason)
        if is_free and self.may_hold(now, who):
            assert claiming.claim(now, by=by, reason=reason).held_by == by
            return
        with pytest.raises(errors.Forbidden if self.is_barred(now, who) else errors.Conflict):
            claiming.claim(now, by=by, reason=reason)

    def it_is_handed_over(self, seq: int, who: str, to: str) -> None:
        now = self.threads[seq].now()
        if now is None:
            return
        by, other = self.people[who], self.people[to]
        fits = self.may_hold(now, who) and now.held_by in (None, by) and to in HANDS and to != "rheas token"
        fits = fits and other != by and (now.level == 1 or to in FACTORS)
        if fits and not (now.votes_needed > 1 and HANDS[to] in self.threads[seq].voters):
            delegating.delegate(now, to=other, note="You know them.", by=by, request_id=uuid7())
            assert Approval.objects.get(pk=now.pk).held_by == other
            self.reached.add("handed over")
            return
        with pytest.raises(errors.DomainError):
            delegating.delegate(now, to=other, note="You know them.", by=by, request_id=uuid7())

    def a_grant_is_revoked(self) -> None:
        for grant in RunGrant.objects.filter(pk__in=self.grants, revoked_at=None)[:1]:
            grants.revoke(grant, by=self.people["olga"], reason="Enough.")
            self.grants[str(grant.pk)] = False

    # --- many at once -------------------------------------------------------------------------------------------------
    def many_are_answered(self, who: str, answer: str, dies: bool) -> None:
        """One answer to every question of the run, by a job whose driver may die after the first."""
        asked = [thread.question.pk for thread in self.threads.values() if thread.question]
        if not asked or self.job:
            return
        given: dict[str, Any] = {"answer": answer, "reason": "The recall.", "by": self.people[who]}
        if who == "olga":
            with pytest.raises(errors.Forbidden):
                jobs.start(Choice(ids=asked), request_id=uuid7(), **given)
            return
        at_once = self.expected(who, Approval.objects.filter(pk__in=asked)) if len(asked) <= jobs.CHUNK else None
        self.job = jobs.start(Choice(ids=asked), request_id=uuid7(), **given)
        if at_once is not None:
            self.were_decided(who, at_once)
        elif dies:
            self.its_driver_dies(who)
        else:
            self.the_job_goes_on()

    def its_driver_dies(self, who: str) -> None:
        assert self.job
        first = Approval.objects.filter(pk=self.job.items.order_by("place")[0].approval_id)
        expected, token = self.expected(who, first), jobs._claim(self.job.pk)
        assert token is not None
        assert jobs._chunk(self.job.pk, token)
        self.were_decided(who, expected)
        BulkDecision.objects.filter(pk=self.job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))

    def the_job_goes_on(self) -> None:
        if self.job is None:
            return
        waiting = self.job.items.filter(state=BulkItem.State.WAITING).values("approval")
        who = next(name for name, one in self.people.items() if self.job and one.pk == self.job.by_id)
        expected = self.expected(who, Approval.objects.filter(pk__in=waiting))
        jobs.drive(self.job.pk)
        self.were_decided(who, expected)
        self.job.refresh_from_db()
        assert (self.job.state, self.job.looked_at) == ("done", self.job.total)
        self.job = None

    def expected(self, who: str, asked: Iterable[Approval]) -> dict[Approval, bool]:
        """Of each question whether a job of this person can decide it now."""
        return {
            one: self.may_vote(one, who) and one.kind == "act" and one.votes_needed == one.level == 1 for one in asked
        }

    def were_decided(self, who: str, expected: dict[Approval, bool]) -> None:
        assert self.job
        request_ids = {item.approval_id: item.request_id for item in self.job.items.all()}
        for approval, is_decided in expected.items():
            decision = Decision.objects.filter(request_id=request_ids[approval.pk]).first()
            assert (decision is not None) == is_decided
            if decision:
                self.threads[approval.seq].counts(decision, who)
                self.reached.add("bulk")
        if self.job.total <= jobs.CHUNK:
            self.job = None

    # --- time ---------------------------------------------------------------------------------------------------------
    def the_claim_runs_out(self) -> None:
        past = timezone.now() - timedelta(seconds=1)
        Approval.objects.filter(claimed_by__isnull=False).update(claimed_until=past)
        claiming.expire()
        assert not Approval.objects.open().filter(claimed_by__isnull=False).exists()

    def its_time_is_over(self, seq: int) -> None:
        now = self.threads[seq].now()
        if now is None or now.kind == Approval.Kind.IN_DOUBT:
            return
        Approval.objects.filter(pk=now.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        assert expiring.expire_overdue() == now.is_open
        self.threads[seq].allowed = ""  # let through or not: from now on it is too old

    def questions_and_answers_agree(self) -> None:
        """At any moment, of every step."""
        for seq in SEQS:
            rows = list(Approval.objects.of_step(self.run.pk, seq).prefetch_related("decisions__by"))
            assert sum(row.is_open for row in rows) <= 1
            for row in rows:
                agrees(row)
