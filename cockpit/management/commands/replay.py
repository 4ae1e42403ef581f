"""`manage.py replay PATH… [--agent-prefix X] [--approve-as USER] [--team SLUG]`: drive recorded runs by the engine.

The workers of a running cockpit do the work; this queues, watches and tells. Replaying the same files again makes new
runs of the same agents and releases; a recording whose agent, prompt, tools or model differ publishes a new version.
"""

import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents.models import Release, Run
from agents.runs.recorded.recording import Severity
from agents.runs.replay import PROGRAM
from cockpit.replaying import Replay, approver_named, require_may_decide, somebody_works, team_for

LOOK_EVERY = 0.5
SAY_EVERY = 5.0  # seconds, where no terminal can be rewritten
PATIENCE = 20.0  # seconds without any change before waiting is given up
SHOWN = 10  # differences told one by one


class Command(BaseCommand):
    """Reads the command line, shows faults and progress; the rest is `cockpit.replaying`."""

    help = "Replay recorded runs (agent-run/1, .jsonl or .jsonl.gz, files or folders) through the engine and its gates."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where the runs are, and how they enter."""
        parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="files, or folders searched for them")
        parser.add_argument("--agent-prefix", default="", metavar="X", help="put before the slug of every agent")
        parser.add_argument(
            "--approve-as",
            default="",
            metavar="USER",
            help="approve as this reviewer what the runs ask (they are started by nobody, so no starter decides)",
        )
        parser.add_argument("--team", default="", metavar="SLUG", help="whose agents they become (default: the first)")

    def handle(
        self, *, paths: list[Path], agent_prefix: str = "", approve_as: str = "", team: str = "", **_: Any
    ) -> None:
        """Queue, watch, sum up. Ends with an error when a run was skipped, failed or differs from its recording."""
        approver = approver_named(approve_as)
        place = team_for(approver, team)
        require_may_decide(approver, place)
        replay = Replay(team=place, prefix=agent_prefix, approver=approver)
        self.began = self.told_at = time.monotonic()
        try:
            skipped = self.enqueue(replay, paths)
            self.watch(replay)
        except KeyboardInterrupt:
            self.stdout.write(f"\n{len(replay.unfinished)} runs go on without this command.")
            raise SystemExit(130) from None
        self.sum_up(replay, skipped)

    def enqueue(self, replay: Replay, paths: list[Path]) -> int:
        """Queue all that can be read; how many could not."""
        releases = Release.objects.filter(program=PROGRAM)
        before, skipped, noticed = releases.count(), 0, 0
        agents = set()
        for found in replay.enqueue(paths):
            if isinstance(found, Run):
                agents.add(found.agent_id)
                self.tell(f"{_many(len(replay.expected), 'run')} queued")
                continue
            self.stderr.write(str(found))
            skipped += found.severity is Severity.SKIPPED
            noticed += found.severity is Severity.NOTICED
        if self.stdout.isatty():
            self.stdout.write("")
        self.stdout.write(
            f"{_many(len(replay.expected), 'run')} of {_many(len(agents), 'agent')} queued for {replay.team}; "
            f"{_many(releases.count() - before, 'new release')}, {skipped} skipped, {_many(noticed, 'remark')}."
        )
        return skipped

    def watch(self, replay: Replay) -> None:
        """Decide and look until all has ended, or only people could move what is left."""
        shown, moved_at = replay.look(), time.monotonic()
        while replay.unfinished:
            replay.decide()
            before, shown = shown, replay.look()
            moved_at = moved_at if shown == before else time.monotonic()
            self.tell(self.progress(replay, shown))
            is_stuck = time.monotonic() - moved_at > PATIENCE
            if not replay.is_moving and (replay.approver is None or is_stuck):
                break
            if is_stuck and not somebody_works():
                raise CommandError(
                    f"No worker is running; {_many(len(replay.unfinished), 'run')} will go on by themselves as soon as "
                    "one is. Start the cockpit with `make up`, or a Celery worker of your own."
                )
            time.sleep(LOOK_EVERY)
        if self.stdout.isatty():
            self.stdout.write("")

    def progress(self, replay: Replay, states: Counter[str]) -> str:
        """How many are done, how fast, and how long the rest will take at that rate."""
        done = sum(states[state] for state in Run.ENDED)
        rate = done / max(time.monotonic() - self.began, 0.001)
        open_states = sorted(state for state in states if state not in Run.ENDED)
        parts = [f"{done}/{len(replay.states)} ended", *(f"{states[state]} {state}" for state in open_states)]
        left = f"{(len(replay.states) - done) / rate:.0f} s left" if done else "no end in sight yet"
        return " · ".join([*parts, f"{rate:.1f} runs/s", left])

    def tell(self, line: str) -> None:
        """Where it stands: one line that is rewritten on a terminal, now and then a new one elsewhere."""
        if self.stdout.isatty():
            self.stdout.write(f"\r\x1b[K{line}", ending="")
            self.stdout.flush()
        elif time.monotonic() - self.told_at >= SAY_EVERY:
            self.told_at = time.monotonic()
            self.stdout.write(line)

    def sum_up(self, replay: Replay, skipped: int) -> None:
        """What became of them, and whether they are what was recorded."""
        states = replay.look()
        seconds = time.monotonic() - self.began
        listed = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no run"
        self.stdout.write(f"{listed} after {seconds:.1f} s; {_many(replay.decided, 'act')} approved.")
        if waiting := len(replay.unfinished):
            who = f"{_many(waiting, 'run')} wait{'s' * (waiting == 1)} for people"
            self.stdout.write(f"{who}: decide on the Approvals page, or replay with --approve-as USER.")
        different = list(replay.differences())
        for run_id, expected, came in different[:SHOWN]:
            self.stderr.write(f"run {run_id} differs from its recording: expected {expected}, came {came}")
        completed, failed = states[Run.State.COMPLETED], states[Run.State.FAILED]
        if completed and not different:
            self.stdout.write(f"Steps, tool calls, failures and tokens of all {completed} equal their recordings'.")
        if skipped or failed or different:
            raise CommandError(f"{skipped} skipped, {failed} failed, {len(different)} differ from their recordings.")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
