"""What finops says before an action: what a model call will probably cost. Reserving has its place here.

`ask` puts the estimate among the action's facts, where later gates and the budgets to come find it:
`estimated_cost_usd` (Decimal, or None where no price is known) and `cost_kind` (`estimated` or `unpriced`).
"""

from django.utils import timezone

from agents.contracts import ALLOW, Action, Json, Usage, Verdict
from finops import pricing


class PriceGate:
    """Lets everything through and says what it costs."""

    def ask(self, action: Action) -> Verdict:
        """Allow. Tools cost no tokens and are passed at once: this is asked before every step of the fleet.

        The runner names the chain in `arguments` and, where it has counted, the size of the request in the facts
        `tokens_in` and `tokens_out` (the most the model may answer with). The first model of the chain is priced.
        """
        if action.kind != "model":
            return ALLOW
        first: Json = next(iter(action.arguments.get("chain") or ()), {})
        usage = Usage(action.facts.get("tokens_in"), action.facts.get("tokens_out"), estimated=True)
        price = pricing.price(first.get("provider", ""), first.get("model", ""), usage, timezone.now())
        action.facts["estimated_cost_usd"], action.facts["cost_kind"] = price.amount, price.kind
        return ALLOW

    def admit(self, action: Action) -> None:
        """Nothing yet: without budgets there is nothing to reserve, and no action is refused for its price."""
