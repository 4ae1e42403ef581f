"""The arguments of a recorded act, for whoever edits them: as the tool list beside the recording describes them, else
in the shape that they have.

Nothing is called with them, and the replay ends there: nothing was recorded of the world in which they were others.
Apart from `editing`, which asks tools and gates that are really here.
"""

from dataclasses import dataclass

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from agents.contracts import Json
from agents.registry import outside
from agents.runs import replay
from approvals.models import Approval

ENDS_HERE = "It was recorded: with other arguments the replay ends here, since nobody knows what would have followed."


@dataclass(frozen=True, slots=True)
class Shape:
    """What a form is made of."""

    schema: Json

    @property
    def checks(self) -> Validator:
        """The validator of what is posted."""
        return Draft202012Validator(self.schema)


def is_recorded(approval: Approval) -> bool:
    """Whether a run that is replayed asks this."""
    return bool(approval.release.program == replay.PROGRAM)


def shape(approval: Approval, asked: Json) -> Shape:
    """A field for each argument that the list knows or the agent gave; whoever wrote the list is not trusted with more
    than that."""
    told = approval.release.bundle.get("tool_schemas", {}).get(approval.tool, {}).get("schema") or {}
    schema: Json = told if outside.is_whole(told) else {"type": "object"}
    given = {name: outside.shape_of(value) for name, value in asked.items()}
    return Shape({**schema, "properties": {**given, **schema.get("properties", {})}})
