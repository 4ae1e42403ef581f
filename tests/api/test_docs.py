"""The documentation tells the truth: its doors, codes, roles and examples are those of the API."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from agents import errors
from agents.people.models import GRANTS, Permission
from cockpit.api import api
from tests.api.stage import Caller

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """What the API says of itself."""
    return json.loads(json.dumps(api.get_openapi_schema()))  # type: ignore[no-any-return]


def _doors(schema: dict[str, Any]) -> set[str]:
    return {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, operations in schema["paths"].items()
        for method in operations
        if method in METHODS
    }


def _section(door: str) -> str:
    found = re.search(rf"^### {re.escape(door)}$(.*?)(?=^#|\Z)", TEXT, re.M | re.S)
    assert found, f"docs/api.md has no section {door}"
    return found.group(1)


def test_every_door_is_documented_and_every_documented_door_exists(schema: dict[str, Any]) -> None:
    written = set(re.findall(r"^### ((?:GET|POST|DELETE) \S+)$", TEXT, re.M))
    assert written == _doors(schema)


def test_every_door_has_an_example_that_calls_it(schema: dict[str, Any]) -> None:
    for door in _doors(schema):
        method, path = door.split(" ")
        pattern = re.sub(r"\{\w+\}", "[^/?\"' ]+", path)
        calls = [
            call for call in re.findall(r"curl .*", _section(door)) if re.search(rf"COCKPIT{pattern}[\"? ]", call + " ")
        ]
        assert calls, door
        assert all(("-X DELETE" in call) == (method == "DELETE") for call in calls), door


def test_every_parameter_and_field_is_named_where_its_door_is(schema: dict[str, Any]) -> None:
    everywhere = {"limit", "cursor"}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            text = _section(f"{method.upper()} {path.removeprefix('/api/v1')}")
            names = {one["name"] for one in operation["parameters"] if one["in"] == "query"} - everywhere
            if method == "post":
                body = operation["requestBody"]["content"]["application/json"]["schema"]
                names |= set(schema["components"]["schemas"][body["$ref"].split("/")[-1]]["properties"])
                text += _section("POST /runs/{run_id}/pause") if "as for" in text else ""
            assert [name for name in names if f"`{name}" not in text] == [], (method, path)


def test_every_value_of_a_filter_is_named(schema: dict[str, Any]) -> None:
    words = set(re.findall(r"`(\w+)`", TEXT))
    for operations in schema["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                values = parameter["schema"].get("items", parameter["schema"]).get("enum", [])
                assert set(values) <= words, parameter["name"]


def _errors(kind: type[errors.DomainError] = errors.DomainError) -> set[tuple[str, str]]:
    rows = (
        {(str(kind.status), kind.code)}
        if kind.__module__.split(".")[0] in ("agents", "approvals", "finops", "cockpit")
        else set()
    )
    return rows.union(*(_errors(child) for child in kind.__subclasses__()))


def test_the_table_of_errors_is_complete() -> None:
    written = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", TEXT, re.M))
    assert written == _errors()


def test_the_table_of_permissions_is_the_one_in_force(schema: dict[str, Any]) -> None:
    found = re.findall(r"^\| ([a-z ]+) \| (.*) \| ([a-z, ]+) \|$", TEXT, re.M)
    rows = [row for row in found if row[0] in set(Permission)]
    written = {permission: set(roles.split(", ")) for permission, _, roles in rows}
    assert written == {str(one): {str(role) for role in GRANTS[one]} for one in GRANTS if str(one) in written}
    assert len(written) == 8
    calls = {call for _, doors, _ in rows for call in re.findall(r"`((?:POST|DELETE) \S+)`", doors)}
    assert calls == {door for door in _doors(schema) if not door.startswith("GET")}


def test_the_examples_have_every_field_that_an_answer_has(schema: dict[str, Any]) -> None:
    shapes = {
        "POST /runs": "RunOut",
        "GET /runs/{run_id}/steps": "StepOut",
        "POST /runs/{run_id}/pause": "ControlOut",
        "POST /runs/{run_id}/overrides": "OverrideOut",
        "GET /agents": "AgentItem",
        "GET /fleet": "FleetOut",
        "GET /approvals": "ApprovalOut",
        "POST /gate": "RulingOut",
        "GET /labels": "LabelOut",
        "GET /agents/{slug}/calibration": "CalibrationOut",
        "GET /proposals": "ProposalOut",
        "GET /autonomy": "AutonomyOut",
        "GET /agents/{slug}/autonomy": "EvidenceOut",
        "POST /escalation-policies": "PublishedOut",
        "POST /policies": "PolicyOut",
        "GET /policies/{number}/diff": "DiffOut",
        "GET /policies/{number}/report": "ReportOut",
        "GET /policies/{number}/differences": "DifferenceOut",
        "POST /endpoints": "EndpointOut",
        "GET /endpoints/{endpoint_id}/deliveries": "DeliveryOut",
        "GET /costs": "CostsOut",
        "GET /audit": "EntryOut",
        "GET /audit/sealing": "SealingOut",
    }
    for door, name in shapes.items():
        example = json.loads(re.findall(r"```json\n(.*?)```", _section(door), re.S)[-1])
        shown = example["items"][0] if set(example) == {"items", "next_cursor"} else example
        assert set(shown) == set(schema["components"]["schemas"][name]["properties"]), door


def test_openapi_is_open_to_everybody_and_loads_nothing_from_elsewhere(anybody: Caller, schema: dict[str, Any]) -> None:
    assert anybody.get("/openapi.json")["paths"].keys() == schema["paths"].keys()
    anybody.refused("POST", "/openapi.json", status=405, code="method_not_allowed")
    anybody.refused("GET", "/docs", status=404, code="not_found")


def test_operations_have_names_and_summaries(schema: dict[str, Any]) -> None:
    operations = [one for path in schema["paths"].values() for one in path.values()]
    assert all(re.fullmatch(r"[a-z]+_[a-z]+", one["operationId"]) and one["summary"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all("default" in one["responses"] and one["security"] for one in operations)
