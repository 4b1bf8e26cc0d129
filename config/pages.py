"""Pages outside the desk: for what went wrong inside, and for buyers who come back from Stripe.

Both ask neither database nor session: the first must come up when nothing else does, the second is anybody's.
"""

from django.http import HttpRequest, HttpResponse
from django.template import loader


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500 with the request's id."""
    page = loader.get_template("500.html").render({"request_id": request.META.get("REQUEST_ID", "")})
    return HttpResponse(page, status=500)


def thanks(_: HttpRequest) -> HttpResponse:
    """Receive whoever paid by a link that the desk made. Coming here proves nothing: only Stripe's word deposits."""
    return HttpResponse(loader.get_template("thanks.html").render())


def saved(_: HttpRequest) -> HttpResponse:
    """Receive whoever saved a card by a link that the desk made. Coming here proves nothing either."""
    return HttpResponse(loader.get_template("saved.html").render())
