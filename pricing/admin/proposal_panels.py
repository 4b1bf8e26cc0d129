"""Panels that rooms above add to the page of a proposal. What came of a price is theirs to know: this room sees no charges.

    proposal_panels.PANELS.append(scorecard)  # in the `ready` of their app

A panel gets the request and the proposal, and returns a section, or nothing.
"""

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest
from django.utils.safestring import SafeString

from pricing.models import Proposal

PANELS: Final[list[Callable[[HttpRequest, Proposal], SafeString | str]]] = []


def of(request: HttpRequest, proposal: Proposal) -> list[SafeString | str]:
    """Return the sections that have something to say about `proposal`."""
    return [section for panel in PANELS if (section := panel(request, proposal))]
