"""What the inbox and those who work an event off agree on.

Each room of the Stripe work names the types of events that it understands in a table `HANDLERS` of its own; the inbox puts
the tables together. A handler gets the event, does its work in a transaction of its own, and says in a sentence what it
did, for whoever looks at the inbox. It may be called twice for one event, late, and before events that happened earlier:
what it writes is keyed by Stripe's ids.
"""

from collections.abc import Callable
from datetime import datetime

from billing.models import StripeEvent

Handler = Callable[[StripeEvent, datetime], str]


class NotOurs(Exception):
    """The event is about something that was not sold here. Its message says what; the event is put aside as ignored."""


class NotYet(Exception):
    """What the event refers to has not arrived. The inbox tries it again later; its message says what is missing."""
