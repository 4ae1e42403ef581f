"""What an agent's TOML file may say, and the sentence it gets where it says something else.

Nothing here looks into the database or at other agents: that a team or a tool exists is checked where it is published.
"""

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.module_loading import import_string
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from agents import errors
from agents.contracts import Risk
from agents.registry import chains, variables
from agents.registry.declarations import alike

Json = dict[str, Any]
_SECRET = re.compile(r"(^|_)(api_?key|key|secret|token|password|passwd|authorization|bearer)$", re.IGNORECASE)
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,120}")
MOST_TRIES = 20
OUTSIDE = "outside"
"""The program of an agent that runs elsewhere and asks before it acts."""
TABLES = frozenset({"agent", "degraded", "limits", "settings", "thresholds", "variables"})
LISTS = frozenset({"models", "degraded.models", "pipeline"})
WANTED = {
    "agent": "a table [agent] with slug, team and owner",
    "agent.slug": "a short name for addresses, such as refunds",
    "agent.team": "the slug of the team it works for",
    "agent.owner": "the name of the person who answers for it",
    "version": 'a version in quotes, such as "1.0"',
    "models.provider": "whose model it is, such as openai or simulated",
    "models.model": "the model's name",
    "pipeline.tool": "the name of a tool",
}


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not the address of a server; write https://models.example.com/v1")
    if parts.username or parts.password:
        raise ValueError("holds a password; put the key into an environment variable and name that one as key_env")
    return url


def _variable(name: str) -> str:
    if not _ENVIRONMENT_NAME.fullmatch(name) or name.startswith("sk-"):
        # The value is not repeated: it may be the secret itself.
        raise ValueError("is not the name of an environment variable; the key itself never belongs in a release")
    return name


def _short(slug: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,79}", slug):
        raise ValueError("is no slug; use small letters, digits, - and _")
    return slug


def _tool(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.-]{0,59}", name, re.ASCII):
        raise ValueError("is no name of a tool; use up to 60 letters, digits, _, . and -")
    return name


def _tried(settings: Json) -> Json:
    attempts = settings.get("attempts", 1)
    if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= MOST_TRIES:
        raise ValueError(f"says attempts = {attempts!r}; a step may be tried from 1 to {MOST_TRIES} times")
    return settings


Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Dollars = Annotated[Decimal, Field(gt=0), PlainSerializer(str)]
Variable = Annotated[str, AfterValidator(variables.named)]
Name = Annotated[str, Field(min_length=1, max_length=120)]


class Written(BaseModel):
    """Something a person wrote: a key that means nothing is a mistake, not an extra."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class AgentTable(Written):
    """Who it is and who answers for it."""

    slug: Annotated[str, AfterValidator(_short)]
    name: Annotated[str, Field(max_length=120)] = ""
    team: Name
    owner: Name
    purpose: str = ""
    use_case: Annotated[str, Field(max_length=80)] = ""
    environment: Literal["live", "sandbox"] = "live"


class ModelTable(Written):
    """One link of the chain: a model, an earlier answer (`cached`), or a `person`; `chains` checks them together."""

    provider: Name
    model: Name | None = None
    base_url: Annotated[str, AfterValidator(_without_credentials)] | None = None
    key_env: Annotated[str, AfterValidator(_variable)] | None = None
    region: Name | None = None
    max_age_s: Seconds | None = None


class Degraded(Written):
    """What is done while the first model's breaker is open."""

    when: Literal["breaker"] = "breaker"
    models: list[ModelTable] = []
    tools: list[Name] | None = None
    say: str = ""


class Limits(Written):
    """Where a run of this release ends `failed`; and how many calls of models its agent makes at a time."""

    steps: Positive | None = None
    tokens: Positive | None = None
    cost_usd: Dollars | None = None
    wall_s: Seconds | None = None
    model_timeout_s: Seconds | None = None
    concurrency: Positive | None = None


Share = Annotated[float, Field(gt=0, le=1)]


class Thresholds(BaseModel):
    """Below which a person looks first: for every write, and, by its name, for one tool in place of that."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Share]

    confidence: Share | None = None


class Stage(Written):
    """One tool of a scripted pipeline."""

    tool: Name
    arguments: Json = {}
    on_error: Literal["stop", "continue"] = "stop"


class OutsideTool(Written):
    """A tool of an agent that runs elsewhere: its owner answers for what is written here. `says` is a sentence with
    `{argument}` in it, `arguments` a JSON Schema; `zone` is another word for its `risk`. People have
    `answer_within_minutes`; after that the tool is not used, or, where it says `fail_open`, used all the same."""

    tier: Annotated[int, Field(ge=1, le=4)]
    writes: bool = True
    description: str = ""
    says: str = ""
    risk: Risk | None = None
    zone: Literal["green", "yellow", "red"] | None = None
    arguments: Json | None = None
    answer_within_minutes: Annotated[int, Field(ge=1, le=30 * 1440)] = 1440
    fail_open: bool = False


class Bundle(Written):
    """The whole file. `simulated` is read by whoever plays it; `tool_types` belongs to recorded runs."""

    agent: AgentTable
    version: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^\S+$")]
    program: Annotated[str, Field(min_length=1, max_length=120)] = "llm"
    prompts: dict[str, str] = {}
    models: list[ModelTable] = []
    tools: list[Name] = []
    tiers: dict[str, Annotated[int, Field(ge=1, le=4)]] = {}
    limits: Limits = Limits()
    settings: Annotated[Json, AfterValidator(_tried)] = {}
    thresholds: Thresholds | None = None
    variables: dict[Variable, str] | None = None
    data_class: Name | None = None
    pipeline: list[Stage] | None = None
    simulated: Json | None = None
    tool_types: Json | None = None
    compensate: bool | None = None
    degraded: Degraded | None = None
    delegates: list[Annotated[str, AfterValidator(_short)]] | None = None
    outside: dict[Annotated[str, AfterValidator(_tool)], OutsideTool] | None = None


def read(path: Path) -> Json:
    """A TOML file as it is; a file that cannot be read is one sentence with its line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise errors.Missing(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.Invalid(f"{path} is not TOML: {error}.") from error


def checked(bundle: Json) -> Json:
    """The bundle with its defaults, as JSON. Raises `errors.Invalid` naming table and key."""
    _refuse_secrets(bundle, ())
    try:
        content = Bundle.model_validate(bundle, strict=False)
    except ValidationError as error:
        raise refusal(error) from error
    kept: Json = content.model_dump(mode="json", exclude_none=True)
    kept["agent"]["name"] = content.agent.name or content.agent.slug.replace("-", " ").replace("_", " ").capitalize()
    _check_together(kept)
    for table, reader in settings.AGENT_BUNDLE_TABLES.items():
        if table in kept:
            import_string(reader)(kept[table])
    return kept


def _check_together(bundle: Json) -> None:
    """What one key says about another."""
    program, tools = bundle["program"], bundle["tools"]
    if program == "llm" and not bundle["models"]:
        raise errors.Invalid("[[models]] is missing: the program llm needs a provider and a model.", field="models")
    chains.check(bundle["models"])
    _check_outside(bundle)
    if program == "pipeline" and not bundle.get("pipeline"):
        raise errors.Invalid(
            "[[pipeline]] is missing: the program pipeline needs its tools in order.", field="pipeline"
        )
    if twice := next((name for name in tools if tools.count(name) > 1), None):
        raise errors.Invalid(f"tools names {twice} twice.", field="tools")
    variables.check(bundle)
    chains.check(bundle.get("degraded", {}).get("models", []), table="degraded.models")
    used = {f"[tiers] {name}": name for name in bundle["tiers"]}
    if program != OUTSIDE:
        used |= {f"[thresholds] {name}": name for name in bundle.get("thresholds") or {} if name != "confidence"}
    used |= {f"[[pipeline]] number {number}": one["tool"] for number, one in enumerate(bundle.get("pipeline", []), 1)}
    remain = bundle.get("degraded", {}).get("tools", [])
    used |= {f"[degraded] tools, number {number}": name for number, name in enumerate(remain, 1)}
    named = [*tools, *(f"delegate.{slug}" for slug in bundle.get("delegates", ()))]
    for place, name in used.items():
        if name not in named:
            hint = alike(name, [*named, "confidence"] if "thresholds" in place else named) or "Add it to tools."
            raise errors.Invalid(f"{place}: {name} is not among tools. {hint}", field="tools")


def _check_outside(bundle: Json) -> None:
    """An agent that runs elsewhere describes its tools, and nothing of what would be run here."""
    if bundle["program"] != OUTSIDE:
        if "outside" in bundle:
            raise errors.Invalid(f'[outside] belongs to agents with program = "{OUTSIDE}".', field="outside")
        return
    if not bundle.get("outside"):
        raise errors.Invalid(
            "[outside.NAME] is missing: name each tool that it asks about, such as [outside.refund] with a tier.",
            field="outside",
        )
    known = ("tools", "tiers", "models", "pipeline", "delegates", "degraded", "compensate", "variables")
    if strange := next((name for name in known if bundle.get(name)), None):
        raise errors.Invalid(
            f"{strange} means nothing for an agent that runs elsewhere; its tools are in [outside.NAME].",
            field=strange,
        )
    if bundle["agent"]["environment"] != "live":
        raise errors.Invalid(
            "[agent] environment: an agent that runs elsewhere really acts, so it is live; nothing of it is simulated.",
            field="agent.environment",
        )
    for name, tool in bundle["outside"].items():
        if "risk" in tool and "zone" in tool and Risk(tool["risk"]).zone != tool["zone"]:
            zone = Risk(tool["risk"]).zone
            raise errors.Invalid(
                f"[outside.{name}] risk {tool['risk']} is zone {zone}, not {tool['zone']}; write only the risk.",
                field="outside",
            )
        if tool["fail_open"] and (tool["tier"] >= 4 or tool.get("risk") == "high" or tool.get("zone") == "red"):
            what = "a person does what is tier 4" if tool["tier"] >= 4 else "high risk always asks a person"
            raise errors.Invalid(
                f"[outside.{name}] fail_open: {what}, so it cannot go on without one.", field="outside"
            )
    _name_thresholds(bundle)


def _name_thresholds(bundle: Json) -> None:
    """Thresholds of an agent that runs elsewhere are written with the names that its file has for its tools, or those
    that they have here (`triage.refund`); they are kept by the latter, which gates and people know."""
    slug, described = bundle["agent"]["slug"], bundle["outside"]
    here = {f"{slug}.{name}": name for name in described}
    named: Json = {}
    for name, least in (bundle.get("thresholds") or {}).items():
        kept = name if name == "confidence" or name in here else f"{slug}.{name}"
        if kept != "confidence" and kept not in here:
            hint = alike(name, [*described, *here, "confidence"]) or f"There are {', '.join(described)}."
            raise errors.Invalid(f"[thresholds] {name}: there is no [outside.{name}]. {hint}", field="thresholds")
        if kept in named:
            raise errors.Invalid(f"[thresholds] names {here[kept]} twice: also as {kept}.", field="thresholds")
        if kept in here and not described[here[kept]]["writes"]:
            raise errors.Invalid(
                f"[thresholds] {name}: [outside.{here[kept]}] only reads, and only what writes waits for being unsure.",
                field="thresholds",
            )
        named[kept] = least
    if named:
        bundle["thresholds"] = named


def _refuse_secrets(value: Any, path: tuple[str, ...]) -> None:
    """A release is shown, compared and kept for ever: no place for a key, wherever somebody puts one."""
    if isinstance(value, list):
        for one in value:
            _refuse_secrets(one, path)
    if not isinstance(value, dict) or path[:1] in {("simulated",), ("pipeline",), ("tool_types",), ("outside",)}:
        return
    for key, inner in value.items():
        if isinstance(inner, str) and inner and _SECRET.search(str(key)):
            sentence = f"{_place((*path, key))} looks like a secret. A release is shown to people: put it into an "
            raise errors.Invalid(f"{sentence}environment variable and name that one as key_env.", field=key)
        _refuse_secrets(inner, (*path, str(key)))


def refusal(error: ValidationError, *, inside: str = "") -> errors.Invalid:
    """The first thing that is wrong; a misspelt key explains what is missing elsewhere, so it comes first. `inside` is
    the table that was checked by itself."""
    found = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    path = (*([inside] if inside else []), *(str(part) for part in found["loc"]))
    field = ".".join(part for part in path if not part.isdigit())
    if found["type"] == "extra_forbidden":
        known = list(_keys(path[:-1]))
        hint = alike(path[-1], known) or f"There are {', '.join(known)}."
        sentence = f"{_place(path)} means nothing here. {hint}"
    elif found["type"] == "missing":
        sentence = f"{_place(path)} is missing: it takes {WANTED.get(field, 'a value')}."
    elif found["type"] == "value_error":
        sentence = f"{_place(path)} {found['ctx']['error']}."
    elif path[0] in ("tiers", "thresholds") and len(path) > 1 and isinstance(found["input"], dict):
        name = ".".join((path[1], *list(found["input"])[:1]))
        sentence = f'[{path[0]}] {path[1]} is a table: write the name of a tool in quotes, "{name}".'
    else:
        plain = found["msg"].partition(" should ")[2]
        words = f"it takes {WANTED[field]}" if field in WANTED else f"it should {plain}" if plain else found["msg"]
        sentence = f"{_place(path)} is {_shown(found['input'])}; {words}."
    return errors.Invalid(sentence, field=field)


def _keys(path: tuple[str, ...]) -> list[str]:
    """The keys a table may have."""
    tables: dict[tuple[str, ...], type[BaseModel]] = {
        (): Bundle,
        ("agent",): AgentTable,
        ("models",): ModelTable,
        ("degraded",): Degraded,
        ("degraded", "models"): ModelTable,
        ("limits",): Limits,
        ("thresholds",): Thresholds,
        ("pipeline",): Stage,
    }
    if path[:1] == ("outside",):
        return list(OutsideTool.model_fields)
    return list(tables[tuple(part for part in path if not part.isdigit())].model_fields)


def _place(path: tuple[str, ...]) -> str:
    """`[agent] owner`, `[[models]] number 2, base_url`, `version`: as it is written in the file."""
    table, rest = path[0], path[1:]
    if table == "outside" and rest:
        return " ".join((f"[outside.{rest[0]}]", ".".join(rest[1:]))).strip()
    if path[:2] == ("degraded", "models"):
        table, rest = "degraded.models", path[2:]
    if not rest:
        return f"[{table}]" if table in TABLES else table
    if rest[0].isdigit():
        number = f"[[{table}]] number {int(rest[0]) + 1}" if table in LISTS else f"{table} {rest[0]}"
        return ", ".join((number, *rest[1:]))
    return f"[{table}] {'.'.join(rest)}"


def _shown(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
