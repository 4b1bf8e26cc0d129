"""The policy: what people have decided about how the Advisor may advise (the workspace, history-tracked)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Self

from config.base.exact import plain


@dataclass(frozen=True, slots=True)
class Policy:
    """Shares are fractions of 1: a target margin of 0.6 is 60 %."""

    target_margin: Decimal
    tolerance: Decimal  # a margin this near to the target is left alone
    max_step: Decimal  # a price moves by at most this share at a time
    cooldown_days: int  # a price rests so long after a change
    minimum_events: int  # fewer in the current window are no evidence
    max_unpriced: Decimal  # a larger share of events without a known cost is no evidence
    credit_value: Decimal  # a credit's worth where nothing was paid for any of them (book currency)

    def as_json(self) -> dict[str, Any]:
        """Write the policy as a proposal stores it."""
        return {name: plain(value) if isinstance(value, Decimal) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(
            target_margin=Decimal(row["target_margin"]),
            tolerance=Decimal(row["tolerance"]),
            max_step=Decimal(row["max_step"]),
            cooldown_days=row["cooldown_days"],
            minimum_events=row["minimum_events"],
            max_unpriced=Decimal(row["max_unpriced"]),
            credit_value=Decimal(row["credit_value"]),
        )
