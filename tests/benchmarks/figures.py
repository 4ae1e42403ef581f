"""What a benchmark yields: one figure with its target, how it was made and how busy the machine was."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """`value` in `unit`; `better` says in which direction; `load` is the one-minute load average when it was taken."""

    name: str
    value: float
    unit: str
    target: float | None
    better: Literal["higher", "lower"]
    detail: str
    load: float = field(default_factory=lambda: round(os.getloadavg()[0], 2))

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.better == "higher" else self.value <= self.target


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of at least one value."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def table(figures: Sequence[Figure]) -> str:
    """Figures as a person reads them."""
    rows = [("figure", "value", "target", "", "load", "how")]
    for one in figures:
        sign = "≥" if one.better == "higher" else "≤"
        target = "" if one.target is None else f"{sign} {one.target:g} {one.unit}"
        verdict = {None: "", True: "met", False: "MISSED"}[one.is_met]
        rows.append((one.name, f"{one.value:,.3g} {one.unit}", target, verdict, f"{one.load:.2f}", one.detail))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=False)] + [row[5]] for row in rows]
    return "\n".join("  ".join(row) for row in padded)


def merge(path: Path, fresh: Sequence[Figure]) -> None:
    """Write the figures; ones that were not taken this time keep their last value."""
    kept = json.loads(path.read_text()) if path.exists() else []
    names = {one.name for one in fresh}
    path.parent.mkdir(parents=True, exist_ok=True)
    rest = [one for one in kept if one["name"] not in names]
    path.write_text(json.dumps(rest + [asdict(one) for one in fresh], indent=1))
