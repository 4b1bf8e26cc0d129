"""The page for what went wrong inside: it must come up when nothing else does, so it asks neither database nor session."""

from django.http import HttpRequest, HttpResponse
from django.template import loader


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500 with the request's id."""
    page = loader.get_template("500.html").render({"request_id": request.META.get("REQUEST_ID", "")})
    return HttpResponse(page, status=500)
