"""`POST /stripe/webhook`: where Stripe sends its events. It knows the caller by a signature, not by an API key.

It stores and answers; a task does the work. A plain view, since the API's document is for apps, and Stripe reads none.
"""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from billing.api.common import respond
from billing.services import inbox


@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    """Answer 200 as soon as the event is stored, for the first copy and for every further one."""
    signature = request.headers.get("Stripe-Signature", "")
    receipt = inbox.receive(body=request.body, signature=signature, now=timezone.now())
    return respond({"id": receipt.event_id, "duplicate": not receipt.is_new})
