"""The program of an agent that runs elsewhere: nothing is done here. Its sessions are kept by `runs.elsewhere`."""

from collections.abc import Sequence

from agents.contracts import Assignment, Event, Finish, Turn

WHY = "This agent runs elsewhere; nothing of it is run here."


class Elsewhere:
    """Asked only if somebody queued such a run against the rules: it ends, and says why."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        """The end."""
        return [Finish(failure="elsewhere", detail=WHY)]
