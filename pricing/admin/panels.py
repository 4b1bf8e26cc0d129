"""Panels that rooms above add to pages of prices. What came of a price is theirs to know: this room sees no charges.

    panels.ON_PROPOSAL.append(scorecard)  # in the `ready` of their app

A panel gets what the page is about, and returns a section, or nothing.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from django.utils.safestring import SafeString

from pricing.models import PriceRule, Proposal

Section: TypeAlias = SafeString | str

ON_PROPOSAL: Final[list[Callable[[Proposal], Section]]] = []
ON_RULE: Final[list[Callable[[PriceRule], Section]]] = []


def of_proposal(proposal: Proposal) -> list[Section]:
    """Return the sections that have something to say about `proposal`."""
    return [section for panel in ON_PROPOSAL if (section := panel(proposal))]


def of_rule(rule: PriceRule) -> list[Section]:
    """Return the sections that have something to say about `rule`."""
    return [section for panel in ON_RULE if (section := panel(rule))]
