"""What every model, real or simulated, gives back to the gateway: known to both sides, which do not know each other."""

from dataclasses import dataclass
from typing import Protocol

from agents.contracts import Json, ModelRequest, Usage


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: an OpenTelemetry assistant message, the model's own name for itself, and the tokens it counted."""

    message: Json
    response_model: str
    usage: Usage


class Model(Protocol):
    """One link of a chain. `provider` and `model` are the names kept with the call."""

    provider: str
    model: str

    async def answer(self, request: ModelRequest, *, attempt: int) -> Said:
        """Ask once, without retries. Raises `errors.OutsideError`; cancelling it ends the call on the wire too."""
        ...
