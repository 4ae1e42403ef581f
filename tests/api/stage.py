"""What the tests of the API stand on: a program with a token that reads every answer as JSON, and what it looks at."""

import json
from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from agents.models import Agent, AgentMinute, Run, Step, StepPayload, Team, User
from agents.people import accounts
from tests import factories

API = "/api/v1"


class Caller:
    """A program: a token, and every answer read as JSON."""

    def __init__(self, token: str = "", client: Client | None = None) -> None:
        self.client = client or Client()
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The bare response."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {**self.headers, **headers}
        return self.client.generic(method, API + path, data, content_type="application/json", headers=given)

    def send(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """What a call answers, which must have this status and be JSON."""
        response = self.call(method, path, body)
        assert response.headers["Content-Type"].startswith("application/json"), response.headers
        answer = json.loads(response.content)
        assert response.status_code == status, (response.status_code, answer)
        return answer

    def get(self, path: str) -> Any:
        """What a GET answers."""
        return self.send("GET", path)

    def post(self, path: str, body: Any, *, status: int = 200) -> Any:
        """Make."""
        return self.send("POST", path, body, status=status)

    def delete(self, path: str, body: Any = None) -> Any:
        """Unmake."""
        return self.send("DELETE", path, body)

    def refused(self, method: str, path: str, body: Any = None, *, status: int, code: str) -> dict[str, Any]:
        """The error of a call that must be refused so, in the form that every error has."""
        answer = self.send(method, path, body, status=status)
        assert set(answer) == {"error"}
        error: dict[str, Any] = answer["error"]
        assert set(error) == {"code", "message", "field"}
        assert error["code"] == code, error
        assert error["message"]
        return error

    def all(self, path: str, limit: int) -> list[Any]:
        """Every item of a list, read page by page."""
        joint = "&" if "?" in path else "?"
        page = self.get(f"{path}{joint}limit={limit}")
        items: list[Any] = page["items"]
        while page["next_cursor"]:
            assert len(page["items"]) == limit
            page = self.get(f"{path}{joint}limit={limit}&cursor={page['next_cursor']}")
            items += page["items"]
        return items


def token(name: str, role: str, *, of: Team | None = None, owner: User | None = None) -> Caller:
    """A program with a token of its own."""
    _, plain = accounts.create_token(name, role=role, owner=owner, team=of, by=None)
    return Caller(plain)


def ended(of: Run, state: str, **fields: Any) -> Run:
    """That run, at its end."""
    Run.objects.filter(pk=of.pk).update(state=state, finished_at=timezone.now(), **fields)
    of.refresh_from_db()
    return of


def step(of: Run, **fields: Any) -> Step:
    """A step that the run has taken, with what went in and came out."""
    given, got = fields.pop("input", {"arguments": {}}), fields.pop("output", None)
    made = factories.step(of, **fields)
    StepPayload.objects.create(run=of, seq=made.seq, input=given, output=got)
    return made


def minute(of: Agent, *, ago: timedelta = timedelta(minutes=2), **sums: Any) -> AgentMinute:
    """What an agent did in one minute."""
    at = (timezone.now() - ago).replace(second=0, microsecond=0)
    return AgentMinute.objects.create(agent=of, minute=at, **sums)
