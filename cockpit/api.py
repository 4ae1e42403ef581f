"""The API: one object that carries every app's doors, lets requests in, and turns whatever goes wrong into one form.

There are no rules here. A door loads what its caller can see and calls the verb that pages call; a domain error becomes
`{"error": {"code", "message", "field"}}` in the one handler below, and so does everything else.
"""

import json
import logging
import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, cast

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError, ValidationErrorContext
from ninja.openapi.schema import OpenAPISchema
from ninja.parser import Parser
from ninja.renderers import JSONRenderer
from uuid_utils.compat import uuid7

from agents import errors
from agents.audit.api import router as audit
from agents.people.api import Credentials
from agents.registry.api import router as agents
from agents.runs import override_api as overrides
from agents.runs.api import freezes, runs
from approvals.api import router as approvals
from approvals.bulk.api import router as bulk
from approvals.claiming_api import router as claims
from approvals.escalation import publishing_api as escalation
from approvals.escalation.api import router as acknowledgements
from approvals.learning import api as learning
from approvals.learning import autonomy_api as autonomy
from approvals.learning.calibration_api import router as calibration
from approvals.notify.api import router as endpoints
from approvals.outside.api import router as gate
from approvals.policies.api import router as policies
from approvals.run_grants.api import router as run_grants
from cockpit import refusals
from cockpit.fleet_api import router as fleet
from cockpit.gate_waiting import router as gate_waiting
from finops.api import router as costs

logger = logging.getLogger(__name__)

DEEPEST = 64
PROBLEM = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "field"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "field": {"type": ["string", "null"]},
            },
        }
    },
}


class NotAllowed(errors.DomainError):
    """This door does not know that method."""

    status = 405
    code = "method_not_allowed"


class TooLarge(errors.DomainError):
    """The body is larger than 2.5 MB."""

    status = 413
    code = "too_large"


class Internal(errors.DomainError):
    """Something broke on our side."""

    status = 500
    code = "internal"


class Unavailable(errors.DomainError):
    """The database does not answer at the moment; try again in a few seconds."""

    status = 503
    code = "unavailable"


class StrictParser(Parser):
    """Reads JSON as PostgreSQL can keep it. What only looks like JSON, or could not be stored is refused here."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The body's value."""
        try:
            value = json.loads(request.body, parse_constant=_no_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise errors.DomainError(f"The body is not JSON: {error}.") from None
        _require_storable(value)
        return value

    def parse_querydict(self, data: Any, list_fields: list[str], request: HttpRequest) -> dict[str, Any]:
        """The parameters. One that takes a single value is not given twice."""
        for name in data:
            values = data.getlist(name)
            if any("\0" in value for value in values):
                raise errors.Invalid(f"`{name}` holds a NUL character; no text here can.", field=name)
            if len(values) > 1 and name not in list_fields:
                raise errors.Invalid(f"`{name}` is given {len(values)} times and takes one value.", field=name)
        return super().parse_querydict(data, list_fields, request)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is larger than a number can be")
    return value


def _require_storable(value: Any) -> None:
    """Refuse texts that PostgreSQL cannot keep, and nesting that would exhaust whoever reads it later."""
    left = [(value, 0)]
    while left:
        each, depth = left.pop()
        if depth > DEEPEST:
            raise errors.DomainError(f"The body is nested more than {DEEPEST} levels deep.")
        if isinstance(each, dict):
            left += [(item, depth + 1) for pair in each.items() for item in pair]
        elif isinstance(each, list):
            left += [(item, depth + 1) for item in each]
        elif isinstance(each, str) and ("\0" in each or any("\ud800" <= mark <= "\udfff" for mark in each)):
            raise errors.DomainError("The body holds a NUL character or half of a surrogate pair; no text here can.")


class PlainRenderer(JSONRenderer):
    """JSON in UTF-8 as it stands: whoever reads it in a terminal reads €, not an escape."""

    json_dumps_params = {"ensure_ascii": False}


class CockpitAPI(NinjaAPI):
    """Ninja's API with our answers: closed to redirects of the sign-in page, and JSON whatever happens."""

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        patterns = [*super()._get_urls(), path("<path:rest>", _nowhere, name="nowhere")]
        for pattern in patterns:
            if isinstance(pattern, URLPattern):
                pattern.callback = door(pattern.callback)
        return patterns

    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> ValidationError:
        """What pydantic found, with what was sent: ninja's own drops that, and a sentence needs it."""
        context = error_contexts[0]
        model = context.model
        source = model.__ninja_param_source__
        names = refusals.body_fields(model) if source == "body" else list(model.__ninja_flatten_map__)
        found = context.pydantic_validation_error.errors(include_url=False)
        return ValidationError([{"refusal": refusals.refusal(found, source=source, takes=names)}])

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Ninja's, plus what every door may answer when something is wrong."""
        schema = super().get_openapi_schema(**options)
        schema["components"]["schemas"]["Problem"] = PROBLEM
        reference = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"]["default"] = {"description": "An error", "content": reference}
        return schema


def door(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A door of the API: it answers strangers itself, in JSON, and nothing it says is kept by caches."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            if "\0" in request.path:
                raise errors.Missing()
            request.body  # noqa: B018  # read before anything reads it as a form, which would leave nothing
            response = view(request, *args, **kwargs)
        except Exception as error:
            response = api.on_exception(request, error)
        if response.status_code == NotAllowed.status and not isinstance(response, JsonResponse):
            allowed = response.headers["Allow"]
            response = say(NotAllowed(f"This door takes {allowed}, not {request.method}."))
            response["Allow"] = allowed
        response["Cache-Control"] = "no-store"
        return response

    answer.csrf_exempt = True  # type: ignore[attr-defined]  # the session's CSRF check is in Credentials
    answer.login_required = False  # type: ignore[attr-defined]  # Django's redirect to the sign-in page is for pages
    return answer


def _nowhere(request: HttpRequest, rest: str) -> HttpResponse:
    raise errors.Missing(f"There is no door at {request.path}; /api/v1/openapi.json lists those there are.")


def say(error: errors.DomainError) -> JsonResponse:
    """An error in the form that every error has."""
    body = {"error": {"code": error.code, "message": error.message, "field": error.field or None}}
    response = JsonResponse(body, status=error.status, json_dumps_params={"ensure_ascii": False})
    if error.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="cockpit"'
    return response


api = CockpitAPI(
    title="Operator cockpit",
    version="1",
    description="Run, watch, govern and price a fleet of agents. See docs/api.md.",
    urls_namespace="api",
    docs_url=None,  # ninja's page loads its scripts from elsewhere
    docs_decorator=require_safe,
    auth=Credentials(),
    parser=StrictParser(),
    renderer=PlainRenderer(),
)


@api.exception_handler(errors.DomainError)
def _domain_error(request: HttpRequest, error: errors.DomainError) -> HttpResponse:
    return say(error)


@api.exception_handler(ValidationError)
def _validation_error(request: HttpRequest, error: ValidationError) -> HttpResponse:
    return say(error.errors[0]["refusal"])


@api.exception_handler(Http404)
def _missing(request: HttpRequest, error: Http404) -> HttpResponse:
    return say(errors.Missing())


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    """Ninja's own; behind an unreadable body stands the error of our parser."""
    cause = error.__cause__
    return say(cause if isinstance(cause, errors.DomainError) else errors.DomainError(str(error)))


@api.exception_handler(RequestDataTooBig)
def _too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return say(TooLarge())


def _unreadable(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
    return say(errors.DomainError("This request cannot be read."))


def _unavailable(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
    logger.warning("%s %s: the database does not answer: %s", request.method, request.path, error)
    return say(Unavailable())


@api.exception_handler(Exception)
def _internal(request: HttpRequest, error: Exception) -> HttpResponse:
    """A bug: the log keeps it under an id, the caller gets the id and nothing else."""
    ident = str(uuid7())
    logger.error("%s %s failed as %s", request.method, request.path, ident, exc_info=error)
    response = say(Internal(f"This is a fault of the cockpit; whoever runs it finds it in the log as {ident}."))
    response["X-Request-Id"] = ident
    return response


for _unread in (BadRequest, SuspiciousOperation, MultiPartParserError, UnreadablePostError):
    api.add_exception_handler(_unread, _unreadable)
for _away in (OperationalError, InterfaceError):
    api.add_exception_handler(_away, _unavailable)


def _refuse_unknown(view: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse parameters that a door does not know, instead of answering another question than the one asked."""
    models = view._ninja_operation.models  # type: ignore[attr-defined]  # ninja notes it on each view
    queries = [model for model in models if model.__ninja_param_source__ == "query"]
    takes = [name for model in queries for name in model.__ninja_flatten_map__]

    @wraps(view)
    def strict(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        for name in request.GET:
            if name not in takes:
                raise refusals.unknown(name, takes)
        return view(request, *args, **kwargs)

    return strict


api.add_decorator(_refuse_unknown, mode="operation")
for _prefix, _routers in {
    "/runs": [runs, overrides.of_runs],
    "/agents": [agents, freezes, overrides.of_agents, autonomy.of_agents, calibration],
    "/fleet": [fleet],
    "/endpoints": [endpoints],
    "/gate": [gate, gate_waiting],
    "/labels": [learning.labels],
    "/approvals": [bulk, approvals, claims, acknowledgements, learning.plants],
    "/run-grants": [run_grants],
    "/policies": [policies],
    "/proposals": [autonomy.proposals],
    "/autonomy": [autonomy.earned],
    "/escalation-policies": [escalation.policies],
    "/calendars": [escalation.calendars],
    "/costs": [costs],
    "/audit": [audit],
}.items():
    for _router in cast(Sequence[Any], _routers):
        api.add_router(_prefix, _router)
