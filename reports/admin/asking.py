"""Asking the Pricing Advisor about one price: a worker does it, since it reads weeks of usage."""

from celery import current_app
from kombu.exceptions import OperationalError as BrokerAwayError

from pricing.models import PriceRule


def advise_on(rule: PriceRule) -> str:
    """Have the Advisor look at `rule` now, and say what to expect."""
    try:
        current_app.send_task("reports.tasks.advise_on", [rule.pk])
    except BrokerAwayError:
        return f"The worker cannot be reached, so nothing was asked. The Advisor looks at {rule} by itself each morning; or try again."
    return f"The Advisor looks at {rule} again. What it says takes the place of this proposal within a minute: then load the page anew."
