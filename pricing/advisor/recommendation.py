"""A recommendation: what the Advisor says about one price, with everything that led there.

It is stored beside the evidence, shown on the proposal's page, and compared byte for byte when it is replayed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

from config.base.exact import plain
from pricing.advisor.words import percent, sentence_list
from pricing.definition import Definition

# What engineers mend, by the cause that a finding names.
_FAULTS: Final = {"retries": "retries and fallbacks", "failures": "actions that fail", "cache": "lost cache hits"}


class Verdict(StrEnum):
    """What should happen to the price. Only the first two come with a price."""

    RAISE = "raise"
    LOWER = "lower"
    KEEP = "keep"  # the margin is near its target, or no allowed price is nearer
    FIX = "fix"  # something broke: repair it instead of charging customers for it
    WITHHOLD = "withhold"  # there is too little to go by


@dataclass(frozen=True, slots=True)
class Margins:
    """Shares of the value that customers paid: 0.6 is 60 %. None where nothing was earned to take a share of."""

    baseline: Decimal | None
    current: Decimal | None
    target: Decimal
    suggested: Decimal | None  # at the suggested price, had the current window been charged by it

    def as_json(self) -> dict[str, str | None]:
        """Write the margins as plain strings."""
        return {name: plain(share) if share is not None else None for name, share in asdict(self).items()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(_read(row["baseline"]), _read(row["current"]), Decimal(row["target"]), _read(row["suggested"]))


@dataclass(frozen=True, slots=True)
class PerEvent:
    """Averages of one window, in the book currency at 12 places and in credits at 6, over the events of known cost."""

    value: Decimal
    cost: Decimal
    credits: Decimal

    def as_json(self) -> dict[str, str]:
        """Write the averages as plain strings."""
        return {name: plain(average) for name, average in asdict(self).items()}

    @classmethod
    def from_json(cls, row: Mapping[str, str]) -> Self:
        """Read what `as_json` wrote."""
        return cls(Decimal(row["value"]), Decimal(row["cost"]), Decimal(row["credits"]))


@dataclass(frozen=True, slots=True)
class Part:
    """One reason why the margin per event changed: by `amount`, which is negative where it fell.

    `share` is the part of all that moved the margin in the direction of the total; None for what moved it the other way.
    """

    name: str
    amount: Decimal
    share: Decimal | None
    sentence: str

    def as_json(self) -> dict[str, str | None]:
        """Write the part as plain strings."""
        share = plain(self.share) if self.share is not None else None
        return {"name": self.name, "amount": plain(self.amount), "share": share, "sentence": self.sentence}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(row["name"], Decimal(row["amount"]), _read(row["share"]), row["sentence"])


@dataclass(frozen=True, slots=True)
class Drift:
    """The change of the margin per event from the baseline; `parts` add up to `total` to the last digit."""

    currency: str
    total: Decimal
    parts: tuple[Part, ...]

    def as_json(self) -> dict[str, Any]:
        """Write the drift as plain JSON."""
        return {"currency": self.currency, "total": plain(self.total), "parts": [part.as_json() for part in self.parts]}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(row["currency"], Decimal(row["total"]), tuple(map(Part.from_json, row["parts"])))


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause in plain words, and what would mend it."""

    cause: str
    sentence: str
    remedy: str

    @classmethod
    def from_json(cls, row: Mapping[str, str]) -> Self:
        """Read what `Recommendation.as_json` wrote."""
        return cls(row["cause"], row["sentence"], row["remedy"])


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One limit on the suggestion. `before` and `after` are factors of the price in force; None where none came so far."""

    name: str
    clamped: bool
    before: Decimal | None
    after: Decimal | None
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """Write the guardrail as plain JSON."""
        return {
            "name": self.name,
            "clamped": self.clamped,
            "before": plain(self.before) if self.before is not None else None,
            "after": plain(self.after) if self.after is not None else None,
            "sentence": self.sentence,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(row["name"], row["clamped"], _read(row["before"]), _read(row["after"]), row["sentence"])


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The Advisor's word on one price."""

    verdict: Verdict
    headline: str
    rationale: tuple[str, ...]
    margin: Margins
    baseline: PerEvent | None
    current: PerEvent | None  # None: the cost of no event is known
    drift: Drift | None
    diagnosis: tuple[Finding, ...]
    guardrails: tuple[Guardrail, ...]
    definition: Definition | None  # the suggested price
    factor: Decimal | None  # what its figures were raised or lowered by, at least
    evidence_hash: str

    @property
    def because(self) -> str:
        """Why, in a few words for a list of prices: `margin 46.4 %, target 60.0 %`; empty where only the headline can tell."""
        if self.verdict == Verdict.FIX:
            return sentence_list([_FAULTS[finding.cause] for finding in self.diagnosis if finding.cause in _FAULTS])
        if self.verdict == Verdict.WITHHOLD:
            # Without averages the sample was too small or too little known; with them it is the price that rests.
            names = {"cooldown"} if self.current else {"minimum_sample", "maximum_unpriced"}
            held = [rail.sentence for rail in self.guardrails if rail.clamped and rail.name in names]
            return f"{held[0][0].lower()}{held[0][1:]}".removesuffix(".") if held else ""
        now, target = self.margin.current, self.margin.target
        return f"margin {percent(now)}, target {percent(target)}" if now is not None else ""

    def as_json(self) -> dict[str, Any]:
        """Write the recommendation as a proposal stores it; `from_json` reads it back equal."""
        return {
            "verdict": str(self.verdict),
            "headline": self.headline,
            "rationale": list(self.rationale),
            "margin": self.margin.as_json(),
            "per_event": {
                "baseline": self.baseline.as_json() if self.baseline else None,
                "current": self.current.as_json() if self.current else None,
            },
            "drift": self.drift.as_json() if self.drift else None,
            "diagnosis": [asdict(finding) for finding in self.diagnosis],
            "guardrails": [guardrail.as_json() for guardrail in self.guardrails],
            "definition": self.definition.as_json() if self.definition else None,
            "factor": plain(self.factor) if self.factor is not None else None,
            "evidence_hash": self.evidence_hash,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        averages = row["per_event"]
        return cls(
            verdict=Verdict(row["verdict"]),
            headline=row["headline"],
            rationale=tuple(row["rationale"]),
            margin=Margins.from_json(row["margin"]),
            baseline=PerEvent.from_json(averages["baseline"]) if averages["baseline"] else None,
            current=PerEvent.from_json(averages["current"]) if averages["current"] else None,
            drift=Drift.from_json(row["drift"]) if row["drift"] else None,
            diagnosis=tuple(map(Finding.from_json, row["diagnosis"])),
            guardrails=tuple(map(Guardrail.from_json, row["guardrails"])),
            definition=Definition.from_json(row["definition"]) if row["definition"] else None,
            factor=_read(row["factor"]),
            evidence_hash=row["evidence_hash"],
        )


def _read(figure: str | None) -> Decimal | None:
    return Decimal(figure) if figure is not None else None
