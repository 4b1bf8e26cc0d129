"""Who calls: the API key of a request, its scope and its rate limit."""

from django.http import HttpRequest
from django.utils import timezone
from ninja.security.http import HttpAuthBase

from billing.events import Caller
from billing.models import Scope
from billing.services import keys, rate_limits
from config.base.http import client_address


class KeyAuth(HttpAuthBase):
    """`Authorization: Bearer md_live_<id>_<secret>`, with one of `scopes`."""

    openapi_scheme = "bearer"
    openapi_bearerFormat = "md_live_<id>_<secret>"  # noqa: N815 - the standard's spelling
    openapi_description = "An API key of a project and an environment. It needs one of the scopes that the call lists."

    def __init__(self, *scopes: Scope, is_checked_later: bool = False) -> None:
        """A charge compares the key's generation in its own transaction, so it need not ask before (`is_checked_later`)."""
        super().__init__()
        self.scopes = frozenset(str(scope) for scope in scopes)
        self.find = keys.authenticate if is_checked_later else keys.authenticate_afresh

    def __call__(self, request: HttpRequest) -> Caller:
        caller = self.find(token=bearer(request), address=client_address(request), now=timezone.now())
        if not self.scopes & caller.scopes:
            wanted = " or ".join(sorted(self.scopes))
            raise keys.Forbidden(f"This call needs the scope {wanted}. Give it to the key in the admin, or use another key.")
        rate_limits.spend_one(caller)
        return caller


def bearer(request: HttpRequest) -> str:
    """Return the token that the request carries, or ''."""
    scheme, _, token = str(request.META.get("HTTP_AUTHORIZATION", "")).partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def caller_of(request: HttpRequest) -> Caller:
    """Return whom the request's key speaks for."""
    caller: Caller = request.auth  # type: ignore[attr-defined]
    return caller
