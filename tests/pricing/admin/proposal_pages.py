"""The pages and dialogs of proposals, as a browser gets them."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from pricing.definition import Definition
from pricing.models import PriceRule, PriceVersion, Proposal
from pricing.services import prices, proposals
from tests.billing.admin import dialogs
from tests.pricing.proposals import a_definition


def page_of(proposal: Proposal) -> str:
    return reverse("admin:pricing_proposal_change", args=[proposal.pk])


def read(browser: Client, proposal: Proposal) -> str:
    response = browser.get(page_of(proposal))
    assert response.status_code == 200
    return response.content.decode()


def words(html: str) -> str:
    """Return what a reader sees, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def buttons(html: str) -> set[str]:
    """Return which of the page's buttons are there."""
    return set(re.findall(r"/proposal/\d+/(apply|reject|submit|edit|withdraw|undo|advise_again)", html))


def tomorrow() -> datetime:
    return (timezone.now() + timedelta(days=1)).replace(second=0, microsecond=0)


def typed(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M}"


def send(browser: Client, button: str, proposal: Proposal, **fields: Any) -> Any:
    return dialogs.send(browser, f"pricing_proposal_{button}", proposal, **fields)


def overtake(rule: PriceRule) -> PriceVersion:
    """Publish another version, which makes what was proposed before stale."""
    return prices.publish_version(
        rule=rule, credits_per_event=Decimal(6), effective_from=tomorrow(), reason="Another thought", actor=None, now=timezone.now()
    )


def change(proposal: Proposal, editor: User, credits: str = "5") -> Proposal:
    definition = Definition.from_json(a_definition(credits))
    return proposals.edit(
        proposal=proposal, definition=definition, effective_from=None, reason="A round figure", actor=editor, now=timezone.now()
    )
