"""A replay of recorded runs from beginning to end: queue them, decide what they ask where a person said so, watch.

In the shell, because it takes the engine (which follows recordings) and the approvals (which decide), and those two
do not know each other in this direction. Nothing here drives a run: the workers of a running cockpit do.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from django.db import DataError
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Permission, Release, Run, Team, User, Worker
from agents.runs import replay
from agents.runs.recorded.content import digest
from agents.runs.recorded.reading import read
from agents.runs.recorded.recording import Counts, Fault, Recording, Severity
from agents.runs.recorded.tally import counted
from approvals import decisions
from approvals.models import Approval, Decision

ALIVE = timedelta(seconds=10)
REASON = "Replay: this was done when the run was recorded."
MOVING = frozenset({Run.State.QUEUED, Run.State.RUNNING, Run.State.COMPENSATING})
COMPARED_AT_ONCE = 200


@dataclass
class Replay:
    """Runs queued together, what each must arrive at, and where they are."""

    team: Team
    prefix: str = ""
    approver: User | None = None
    expected: dict[UUID, Counts] = field(default_factory=dict)
    states: dict[UUID, str] = field(default_factory=dict)
    releases: dict[str, Release] = field(default_factory=dict)
    decided: int = 0

    def enqueue(self, paths: Iterable[Path]) -> Iterator[Run | Fault]:
        """Queue every run that can be read. What can't be is a fault, and the rest goes on."""
        for found in read(paths):
            yield found if isinstance(found, Fault) else self._enqueue(found)

    def _enqueue(self, recording: Recording) -> Run | Fault:
        try:
            run = replay.enqueue(recording, release=self._release(recording))
        except (errors.DomainError, DataError) as error:
            return Fault(recording.file, recording.line, str(error), Severity.SKIPPED, run_id=recording.run_id)
        self.expected[run.pk] = counted(recording)
        self.states[run.pk] = run.state
        return run

    def _release(self, recording: Recording) -> Release:
        """Registered once for all runs of the same agent."""
        slug = replay.slug(recording, prefix=self.prefix)
        same = digest({"slug": slug, **replay.bundle(recording)})
        if same not in self.releases:
            self.releases[same] = replay.register(slug, recording, team=self.team)
        return self.releases[same]

    def decide(self) -> None:
        """Approve what these runs ask, through the verb that everybody uses; somebody who was faster is welcome."""
        if self.approver is None:
            return
        for approval in Approval.objects.open().filter(run_id__in=self.unfinished):
            try:
                decisions.decide(
                    approval, answer=Decision.Answer.APPROVE, reason=REASON, by=self.approver, request_id=uuid7()
                )
            except (errors.Conflict, errors.Forbidden):
                continue  # somebody was faster, or it takes a second factor, which is shown in the browser
            self.decided += 1

    def look(self) -> Counter[str]:
        """How many runs are in which state now."""
        self.states |= replay.states(self.unfinished)
        return Counter(self.states.values())

    @property
    def unfinished(self) -> list[UUID]:
        """Runs that had not ended when we last looked."""
        return [run_id for run_id, state in self.states.items() if state not in Run.ENDED]

    @property
    def is_moving(self) -> bool:
        """Whether the engine has something to do; otherwise everything has ended or waits for a person."""
        return any(state in MOVING for state in self.states.values())

    def differences(self) -> Iterator[tuple[UUID, Counts, Counts]]:
        """Completed runs whose counts are not their recording's: the run, what was expected, what came."""
        completed = [run_id for run_id, state in self.states.items() if state == Run.State.COMPLETED]
        for start in range(0, len(completed), COMPARED_AT_ONCE):
            for run_id, counts in replay.arrived(completed[start : start + COMPARED_AT_ONCE]):
                if counts != self.expected[run_id]:
                    yield run_id, self.expected[run_id], counts


def team_for(approver: User | None, slug: str) -> Team:
    """Whose agents they become: the team that was named, else the approver's, else the first there is."""
    if slug:
        named: Team | None = Team.objects.filter(slug=slug).first()
        if named is None:
            known = ", ".join(Team.objects.order_by("slug").values_list("slug", flat=True)) or "none yet"
            raise errors.Invalid(f"There is no team {slug!r}; there is: {known}.")
        return named
    everywhere, teams = approver.places(Permission.DECIDE) if approver else (True, frozenset())
    places = Team.objects.all() if everywhere else Team.objects.filter(pk__in=teams)
    first: Team | None = places.order_by("pk").first()
    return first or Team.objects.create(slug="recorded", name="Recorded runs")


def approver_named(username: str) -> User | None:
    """The person who is to approve, if one is named."""
    if not username:
        return None
    try:
        return User.objects.get_by_natural_key(username)
    except User.DoesNotExist:
        raise errors.Invalid(f"There is nobody called {username!r}; --approve-as takes a user name.") from None


def require_may_decide(approver: User | None, team: Team) -> None:
    """Refuse before anything is queued. Runs of a replay are started by nobody, so no duty forbids a reviewer."""
    if approver and not approver.may(Permission.DECIDE, team.pk):
        raise errors.Forbidden(f"{approver} may not decide; that takes the role reviewer in {team}.")


def somebody_works() -> bool:
    """Whether any worker has shown a sign of life lately."""
    return Worker.objects.filter(kind=Worker.Kind.WORKER, seen_at__gte=timezone.now() - ALIVE).exists()
