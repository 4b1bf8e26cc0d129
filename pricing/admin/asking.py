"""Asking the Advisor: it reads usage, which this room does not see, so a room above says here how it is asked.

    asking.HOW.append(ask)  # in the `ready` of its app

It gets the rule to look at, and returns what to tell whoever asked.
"""

from collections.abc import Callable
from typing import Final

from pricing.models import PriceRule

HOW: Final[list[Callable[[PriceRule], str]]] = []


def again(rule: PriceRule) -> str:
    """Ask about `rule`, and return what to tell."""
    return " ".join(ask(rule) for ask in HOW)
