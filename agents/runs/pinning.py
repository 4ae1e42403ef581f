"""A run goes on with the program and release it began with, or waits until a person says with what.

A history belongs to the program that made it: another one may repeat acts, or skip them. So a driver whose program is
not the one that a run is pinned to asks, and shows what is different. A run that has no history yet is pinned to
whatever drives it first.
"""

import difflib
from collections.abc import Iterator
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from agents import errors, signals
from agents.audit import log as audit
from agents.contracts import Json
from agents.models import Agent, Control, Permission, ProgramSource, Release, Run, Step, User
from agents.registry import comparing, programs
from agents.runs import ending, hotpath, steps
from agents.runs.lease import Claim

WAITS = Run.Waits.DECISION
ASKED = "a decision: its program changed"
LINES, PLACES = 120, 12
"""How much of a difference a question holds: lines of source, places in a bundle."""
UNDONE = (Step.State.HELD, Step.State.IN_DOUBT)


# --- what a driver does ----------------------------------------------------------------------------------------------
def must_ask(claim: Claim) -> bool:
    """Whether this process's program is not the one that made the history: then the run waits for a decision."""
    try:
        mine = programs.pin(claim.release.program, claim.release.digest)
    except errors.Invalid as error:
        _ask(claim, "", [error.message], "")
        return True
    if mine == claim.program_digest:
        return False
    if claim.program_digest and claim.history:
        _ask(claim, mine, *difference(claim.program_digest, claim.release.program, claim.release.digest))
        return True
    _pin(claim, mine)
    return False


def is_elsewhere(claim: Claim) -> bool:
    """Whether a person has moved the run to another release while it was driven. Asked when its parameters changed."""
    return not Run.objects.filter(pk=claim.run_id, release=claim.release_id).exists()


def _pin(claim: Claim, mine: str) -> None:
    ours = claim.release.program in programs.BEHAVIOUR
    pin = {"run": claim.run_id, "token": claim.token, "digest": mine, "is_ours": ours}
    if hotpath.one(hotpath.PIN, pin) is None:  # the first run that this source drives, or not our run any more
        with steps.database():
            hotpath.fenced(steps.guard(claim))
            programs.keep(Release.objects.get(pk=claim.release_id))
            Run.objects.filter(pk=claim.run_id).update(program_digest=mine)
    claim.program_digest = mine


def _ask(claim: Claim, mine: str, told: list[str], lines: str) -> None:
    """Let the run wait; asked again about the same, it is the same question."""
    with steps.database():
        row = steps.guard(claim)
        if row is None:
            raise errors.Fenced
        steps.heed(claim, row)
        if claim.asked or claim.frozen:
            ending.obey(claim)
            return
        run = Run.objects.select_related("agent").get(pk=claim.run_id)
        known = run.question or {}
        if (known.get("was"), known.get("is")) != (claim.program_digest, mine):
            question: Json = {"kind": "program_changed", "was": claim.program_digest, "is": mine, "difference": told}
            question |= {"lines": lines, "at": timezone.now().isoformat()}
            Run.objects.filter(pk=claim.run_id).update(question=question)
            pins = {"was": claim.program_digest, "is": mine}
            audit.record("run.program_changed", about=run, by=None, reason=" ".join(told), pins=pins)
        ending.let_go(claim, "waiting", waits=WAITS, waiting_for=ASKED)


def difference(was: str, program: str, content: str) -> tuple[list[str], str]:
    """What is different now, in sentences, and line by line where the source was kept."""
    if program in programs.BEHAVIOUR:
        now = programs.BEHAVIOUR[program]
        known = (n for n in range(1, now) if programs.pinned(program, n, content) == was)
        before = next(known, None)
        began = f"this run began with {before}" if before else "this run began with another one"
        return [f"The program {program} behaves as in {now}; {began}."], ""
    kept = ProgramSource.objects.filter(pk=was).first()
    if kept is None:
        return [f"The source of {program} is another one; what it was, nobody kept."], ""
    now_files = programs.files(program)
    told, lines = [], []
    for name in sorted({*kept.files, *now_files}):
        changed = list(_lines(name, kept.files.get(name, ""), now_files.get(name, "")))
        added, removed = (sum(line[0] == sign for line in changed[2:]) for sign in "+-")
        if changed:
            told.append(f"{name}: {added} line{'' if added == 1 else 's'} added, {removed} removed.")
            lines += changed
    return told or [f"{program} is the same text in other files."], "\n".join(lines[:LINES])


def _lines(name: str, before: str, after: str) -> Iterator[str]:
    return difflib.unified_diff(before.splitlines(), after.splitlines(), f"{name} as it was", name, lineterm="", n=2)


# --- what people do --------------------------------------------------------------------------------------------------
def pin(run: Run, *, to: str, by: User, reason: str, request_id: UUID) -> Control:
    """`old`: go on with its own release, and with the program as it is now; from then on that is the one it is pinned
    to. `new`: from its next step on it works by the agent's live release."""
    if to not in ("old", "new"):
        raise errors.Invalid(f"`to` is {to!r}; it can be old or new.", field="to")
    verb = Control.Verb.KEEP if to == "old" else Control.Verb.MOVE
    if not by.may(Permission.STEER, run.team_id):
        why = f"You may not decide how {run} goes on; that takes the role operator in {run.team}."
        audit.refuse(f"run.{verb}", about=run, by=by, because=why, request_id=request_id)
    if not reason.strip():
        raise errors.Invalid("Say why; the next person will ask.", field="reason")
    return _decide(run, verb, by=by, reason=reason.strip(), request_id=request_id)


@transaction.atomic
def _decide(run: Run, verb: Control.Verb, *, by: User, reason: str, request_id: UUID) -> Control:
    locked = Run.objects.select_for_update(of=("self",)).select_related("release", "agent").get(pk=run.pk)
    if found := Control.objects.filter(request_id=request_id).first():
        if (found.run_id, found.verb) != (run.pk, verb):
            raise errors.Conflict("This request id was used for something else; make a new one.", field="request_id")
        return found
    if locked.is_ended or locked.ending is not None:
        word = locked.get_state_display().lower() if locked.is_ended else "taking its acts back"
        raise errors.Conflict(f"This run is {word}; how it goes on is decided.")
    told = _keep(locked) if verb == Control.Verb.KEEP else _move(locked)
    _go_on(locked)
    now = timezone.now()
    control = Control.objects.create(run=run, verb=verb, by=by, reason=reason, request_id=request_id, obeyed_at=now)
    audit.record(f"run.{verb}", about=run, by=by, reason=reason, request_id=request_id, **told)
    run.refresh_from_db()
    signals.run_changed.send(Run, run_id=run.pk, agent_id=run.agent_id, state=run.state)
    return control


def _keep(run: Run) -> Json:
    """Its own release. Which source that is, the worker that goes on with it says: this process may have another."""
    if not run.question:
        raise errors.Conflict("This run goes on with its release already; nothing about it is asked.")
    Run.objects.filter(pk=run.pk).update(program_digest="", question=None)
    return {"version": run.release.version, "change": "its program: as it is now"}


def _move(run: Run) -> Json:
    """The live release. Its program meets a history of another one, so no act may be half done."""
    live = newer(run)
    if live is None:
        raise errors.Conflict(f"{run.agent} has no other live release than the one this run works by.")
    undone = Step.objects.filter(run=run, state__in=UNDONE) | Step.objects.filter(
        run=run, state=Step.State.INTENDED, writes=True
    )
    if step := undone.order_by("seq").first():
        sentence = (
            f"Step {step.seq}, {step.name}, is {step.get_state_display().lower()} by release {run.release.version}"
        )
        raise errors.Conflict(f"{sentence}; the run can be moved when that is closed.")
    fields = {"release": live, "program_digest": "", "question": None, "tuning": F("tuning") + 1}
    Run.objects.filter(pk=run.pk).update(**fields)
    changed = ", ".join(places(run.release, live)) or "its version only"
    return {"before": run.release.version, "version": live.version, "change": changed}


def _go_on(run: Run) -> None:
    """A run that waited for this decision is queued; any other one takes it up where it goes on."""
    if run.state == Run.State.WAITING and run.waits == WAITS:
        run.move(to=Run.State.QUEUED, waiting_for="", waits="", rings=0, rung_at=None)
        signals.run_ready.send(Run, run_id=run.pk, queue=Run.Queue.CONTROL)


def newer(run: Run) -> Release | None:
    """The live release of its agent, where that is another one than the run's own and no draft is being tried."""
    live: Release | None = Agent.objects.select_related("release").get(pk=run.agent_id).release
    is_draft = run.release.state == Release.State.DRAFT
    return None if live is None or live.pk == run.release_id or is_draft else live


def offer(run: Run) -> Json | None:
    """The release that a live run could move to, and where it is different; None where there is nothing to offer."""
    if run.is_ended or run.ending is not None or run.agent.release_id in (None, run.release_id):
        return None
    live = newer(run)
    if live is None:
        return None
    return {"release": live, "places": ", ".join(places(run.release, live)) or "its version only"}


def places(before: Release, after: Release) -> list[str]:
    """Where two releases part, shortened; their versions aside."""
    found = [change.path for change in comparing.diff(before, after) if change.path != "version"]
    more = [f"and {len(found) - PLACES} more"] if len(found) > PLACES else []
    return found[:PLACES] + more
