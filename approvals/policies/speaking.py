"""What rules can speak about as things are: our catalogue, and what agents elsewhere describe.

Apart from `surface` because this asks the database; a policy set keeps what it was told when it was published.
"""

from collections.abc import Iterator

from agents.contracts import Json
from agents.models import Agent
from agents.registry import declarations, outside
from agents.registry.outside import OUTSIDE, OutsideTool
from approvals.policies import surface


def now() -> Json:
    """Every tool that a rule can name. Those of agents elsewhere are `agent.tool`, by their releases in force."""
    return surface.of(declarations.declared(), _elsewhere())


def _elsewhere() -> Iterator[OutsideTool]:
    live = Agent.objects.filter(release__program=OUTSIDE).order_by("slug")
    for slug, described in live.values_list("slug", "release__bundle__outside"):
        for tool in described or ():
            found = outside.find({"outside": described}, slug, tool)
            if found is not None:
                yield found
