"""What the inbox and those who work an event off agree on.

Each room of the Stripe work names the types of events that it understands in a table `HANDLERS` of its own; the inbox puts
the tables together. A handler gets the event, does its work in a transaction of its own, and says in a sentence what it
did, for whoever looks at the inbox. It may be called twice for one event, late, and before events that happened earlier:
what it writes is keyed by Stripe's ids.

**Whoever needs Stripe's answer asks `desk`.** Events begin in the queue of deposits, where nobody waits for Stripe: there `desk` raises
`AsksStripe`, and the event goes on in the other queue, where its handler is called again. What it did until then stays done.
"""

from collections.abc import Callable
from datetime import datetime

from billing.models import EventQueue, StripeEvent
from billing.services import stripe_gateway
from billing.services.stripe_gateway import Gateway

Handler = Callable[[StripeEvent, datetime], str]


class NotOurs(Exception):
    """The event is about something that was not sold here. Its message says what; the event is put aside as ignored."""


class NotYet(Exception):
    """What the event refers to has not arrived. The inbox tries it again later; its message says what is missing."""


class AsksStripe(Exception):
    """What is left of the event needs Stripe's answer, and deposits do not wait for that."""


def desk(event: StripeEvent) -> Gateway:
    """Return Stripe, to be asked about an event. Raises AsksStripe in the queue of deposits, StripeNotSetUp."""
    if event.queue == EventQueue.DEPOSITS:
        raise AsksStripe
    return stripe_gateway.gateway()
