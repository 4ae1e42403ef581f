"""Who is asking: a token in the header, or the session of a browser together with its CSRF token."""

from typing import cast

from django.http import HttpRequest
from ninja.security import HttpBearer
from ninja.utils import check_csrf

from agents import errors
from agents.people import accounts, proving
from agents.people.assurance import Assurance, Door
from agents.people.models import User
from agents.wire import ActorRequest


class Unauthenticated(errors.DomainError):
    """Say who you are: send the header `Authorization: Bearer <token>`."""

    status = 401
    code = "unauthenticated"


class Unconfirmed(errors.DomainError):
    """A signed-in browser confirms a change with its CSRF token: send it in the header `X-CSRFToken`."""

    status = 403
    code = "csrf"


class Credentials(HttpBearer):
    """Lets a request in and notes on it who acts. Where a header is sent, the session is not looked at."""

    def __call__(self, request: HttpRequest) -> User:
        """The account that acts, or a sentence that says what is missing."""
        header = request.headers.get("Authorization", "")
        user = self.authenticate(request, header) if header else self._signed_in(request)
        if user is None or not user.is_active:
            raise Unauthenticated("This token is not known here, or was revoked, or has expired." if header else "")
        user.assurance = Assurance(Door.TOKEN) if header else proving.of_session(request)
        cast(ActorRequest, request).actor = user
        return user

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        """The account that a token speaks for."""
        scheme, _, plain = token.strip().partition(" ")
        return accounts.authenticate(plain.strip()) if scheme.lower() == "bearer" else None

    def _signed_in(self, request: HttpRequest) -> User | None:
        """Whose session this is; a page of another site cannot use it to change anything."""
        if not isinstance(request.user, User):
            return None
        if check_csrf(request):
            raise Unconfirmed()
        return request.user
