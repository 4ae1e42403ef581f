"""Which parameters of a release may be changed for a time, whether a value fits, and the bundle that results.

Pure functions of a bundle: who may change what, for how long, is for `runs.overriding` to say; drivers use `applied`.
A value is held to the rules that a release is held to when it is published.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from agents import errors
from agents.registry import bundles, declarations, thresholds
from agents.registry.bundles import Json, Positive

LIMITS = ("steps", "tokens", "cost_usd", "wall_s")
SPENDING = frozenset({"limits.cost_usd", "limits.tokens"})
"""To raise one of these is to allow money that the release does not."""


class Settings(bundles.Written):
    """The settings of a model that may be changed."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Positive | None = None


TABLES: dict[str, type[BaseModel]] = {
    "limits": bundles.Limits,
    "settings": Settings,
    "thresholds": bundles.Thresholds,
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A place in a bundle, `limits.cost_usd`, with what stands there (None: nothing) and, where these are few, what
    may."""

    path: str
    now: Any
    choices: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The value as a person reads it."""
        return shown(self.path, self.now)


def parameters(bundle: Json, *, models: Sequence[Json] = ()) -> list[Parameter]:
    """What may be changed of this bundle. `models` are those that may take the first place of its chain."""
    chain = bundle.get("models") or []
    found = [Parameter("models", chain[0], tuple(map(label, models)))] if chain else []
    found += [Parameter(f"limits.{name}", value(bundle, f"limits.{name}")) for name in LIMITS]
    if chain:
        found += [Parameter(f"settings.{name}", value(bundle, f"settings.{name}")) for name in Settings.model_fields]
    if bundle.get("tools") and bundle.get("program") != "recorded":
        found.append(Parameter("thresholds.confidence", value(bundle, "thresholds.confidence")))
        for name in bundle["tools"]:
            if name in (bundle.get("thresholds") or {}) or heeds(bundle, name):
                found.append(Parameter(f"thresholds.{name}", thresholds.value(bundle, name)))
            tier = value(bundle, f"tiers.{name}")
            if tier < 4:
                found.append(Parameter(f"tiers.{name}", tier, tuple(str(one) for one in range(tier + 1, 5))))
    found += [Parameter(f"variables.{name}", words) for name, words in (bundle.get("variables") or {}).items()]
    return found


def value(bundle: Json, path: str) -> Any:
    """What stands at a place now; None where nothing does."""
    table, _, name = path.partition(".")
    if table == "models":
        chain = bundle.get("models") or []
        return chain[0] if chain else None
    if table == "tiers":
        return _tier(bundle, name)
    return (bundle.get(table) or {}).get(name)


def heeds(bundle: Json, tool: str) -> bool:
    """Whether a threshold means anything for a tool of this bundle: only what writes waits for being unsure."""
    published = bundle.get("tool_schemas", {}).get(tool)
    return published is None or bool(published["writes"])


def allowed(bundle: Json, path: str) -> Any:
    """What a release allows at a place: a tool without a threshold of its own is held to that of all."""
    table, _, name = path.partition(".")
    return thresholds.value(bundle, name) if table == "thresholds" else value(bundle, path)


def read(bundle: Json, path: str, given: Any, *, models: Sequence[Json]) -> Any:
    """The value as a release would hold it. Raises `errors.Invalid` with what would be right."""
    known = {one.path: one for one in parameters(bundle, models=models)}
    if path not in known:
        hint = declarations.alike(path, known) or f"There are {', '.join(known)}."
        raise errors.Invalid(f"{path!r} is no parameter that can be changed here. {hint}", field="parameter")
    table, _, name = path.partition(".")
    if table == "models":
        return _model(given, models)
    if table == "tiers":
        return _stricter(name, given, known[path].now)
    if table == "variables":
        if not isinstance(given, str):
            raise errors.Invalid(f"{path} is a text, not {given!r}.", field="value")
        return given
    return _of_table(table, name, given)


def is_milder(path: str, allowed: Any, given: Any) -> bool:
    """Whether a value lets more happen than the release does: more money spent, or fewer acts shown to a person."""
    if allowed is None:
        return False
    if path in SPENDING:
        return Decimal(str(given)) > Decimal(str(allowed))
    return path.startswith("thresholds.") and float(given) < float(allowed)


def combined(changes: Iterable[tuple[str, Any]]) -> Json:
    """Several changes, those of all runs of an agent before those of one run: the last goes before, but of tiers and of
    thresholds the strictest holds, so that whoever makes an agent careful makes each of its runs careful."""
    found: Json = {}
    for path, given in changes:
        found[path] = max(given, found.get(path, given)) if is_strict(path) else given
    return found


def is_strict(path: str) -> bool:
    """Whether of several changes the strictest holds."""
    return path.startswith(("tiers.", "thresholds."))


def applied(bundle: Json, changes: Mapping[str, Any]) -> Json:
    """The bundle with these parameters changed. A tier never becomes milder than the bundle's own."""
    made = {**bundle, **thresholds.raised(bundle, changes)}
    for path, given in changes.items():
        table, _, name = path.partition(".")
        if table == "models":
            made["models"] = _chain(bundle.get("models") or [], given)
        elif table != "tiers":
            made[table] = {**(made.get(table) or {}), name: given}
        elif name in bundle.get("tools", ()):
            made["tiers"] = {**(made.get("tiers") or {}), name: max(given, _tier(bundle, name))}
    return made


def earned(bundle: Json, tiers: Mapping[str, tuple[int, int]]) -> Json:
    """The bundle with milder tiers that its agent has earned: by tool, the tier that it was earned against and the one
    that was earned. Where this bundle says another one than was earned against, it says what holds."""
    milder = {tool: tier for tool, (was, tier) in tiers.items() if _earns(bundle, tool, was, tier)}
    return {**bundle, "tiers": {**(bundle.get("tiers") or {}), **milder}} if milder else bundle


def _earns(bundle: Json, tool: str, was: int, tier: int) -> bool:
    return tool in bundle.get("tools", ()) and _tier(bundle, tool) == was and tier < was


def label(link: Json) -> str:
    """A model in one word, `openai/large-one`."""
    return f"{link.get('provider', '')}/{link.get('model', '')}"


def shown(path: str, held: Any) -> str:
    """A value as a person reads it."""
    if held is None:
        return "not set"
    if path == "models":
        return label(held)
    unit = {"limits.cost_usd": "${}", "limits.wall_s": "{} s"}.get(path, "{}")
    return unit.format(held)


def _chain(chain: list[Json], link: Json) -> list[Json]:
    """One of the chain goes to its front; another takes the place of the first. What is behind keeps its order."""
    others = [one for one in chain if label(one) != label(link)]
    return [link, *(others if len(others) < len(chain) else chain[1:])]


def _tier(bundle: Json, tool: str) -> int:
    declared = bundle.get("tool_schemas", {}).get(tool, {}).get("tier", 1)
    tier: int = (bundle.get("tiers") or {}).get(tool, declared)
    return tier


def _model(given: Any, models: Sequence[Json]) -> Json:
    wanted = given if isinstance(given, str) else label(given) if isinstance(given, dict) else ""
    found = next((link for link in models if label(link) == wanted.strip()), None)
    if found is None:
        known = ", ".join(map(label, models))
        sentence = f"models takes one that a release of this team names: {known}; {given!r} is none of them."
        raise errors.Invalid(sentence, field="value")
    return found


def _stricter(tool: str, given: Any, now: int) -> int:
    text = str(given).strip()
    tier = int(text) if text in {"1", "2", "3", "4"} else None
    if tier is None or tier <= now:
        allowed = " or ".join(str(one) for one in range(now + 1, 5))
        sentence = f"{tool} is tier {now}; it can only be made stricter for a time: {allowed}, not {given!r}."
        raise errors.Invalid(sentence, field="value")
    return tier


def _of_table(table: str, name: str, given: Any) -> Any:
    if given is None or isinstance(given, bool) or given == "":
        raise errors.Invalid(f"[{table}] {name} takes a number, not {given!r}.", field="value")
    try:
        checked = TABLES[table].model_validate({name: given}, strict=False)
    except ValidationError as error:
        raise errors.Invalid(bundles.refusal(error, inside=table).message, field="value") from error
    fit = checked.model_dump(mode="json", exclude_none=True)[name]
    if not math.isfinite(float(fit)):
        raise errors.Invalid(f"[{table}] {name} is {given!r}; it takes a number that ends.", field="value")
    return fit
