"""The feeds as they were: their known faults do not reach the catalogue unasked, and most genuine changes pass.

PROVENANCE.md beside the data names the faults: slips of a decimal place, and a refactor that brought old prices back.
"""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from pricing.feeds import files
from pricing.feeds.statement import SeriesKey
from pricing.models import RateChange
from pricing.queries import rate_imports as queries
from pricing.services import rate_decisions, rate_imports
from pricing.units import UnitKind
from tests.pricing.feeds import price_history
from tests.pricing.feeds.price_history import Step

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

HAIKU = SeriesKey("anthropic", "claude-3-5-haiku-20241022", UnitKind.CACHE_READ)
O3 = SeriesKey("openai", "o3", UnitKind.INPUT)
FLASH = SeriesKey("google", "gemini-2.5-flash", UnitKind.INPUT)
MINISTRAL = SeriesKey("mistral", "ministral-8b", UnitKind.OUTPUT)
FAULTS = {
    (HAIKU, Decimal("0.8")),
    (O3, Decimal(10)),
    (O3._replace(unit=UnitKind.OUTPUT), Decimal(40)),
    (FLASH, Decimal("0.15")),
    (FLASH._replace(unit=UnitKind.OUTPUT), Decimal("0.6")),
    (MINISTRAL, Decimal(1)),
}


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def imported(feed: files.Feed, at: datetime) -> list[RateChange]:
    """Import and accept what no guard holds; return the lines as they were found."""
    made = rate_imports.import_feed(feed=feed, as_of=at, dated=True, actor=None, now=at).rate_import
    lines = list(made.changes.all())
    done = rate_decisions.accept_unguarded(rate_import=made, actor=None, now=at)
    assert done.refused == ()
    return lines


def price(key: SeriesKey, at: str) -> Decimal | None:
    known = queries.catalogue(providers=[key.provider]).in_force(key, day(at))
    return known.figure.price if known else None


def prices(key: SeriesKey) -> set[Decimal]:
    """Return all prices that the series ever had in the catalogue."""
    return {known.figure.price for known in queries.catalogue(providers=[key.provider]).rates.get(key, ())}


class TestStoredFiles:
    @pytest.fixture
    def lines(self, real_data: Path) -> dict[str, list[RateChange]]:
        """Import every stored file in the order of their days."""
        named = {path.stem.split("_")[-2]: path for path in (real_data / "price_feeds").iterdir()}
        assert len(named) == 6
        return {
            at: imported(files.from_file(named[at], source="tokencost" if "tokencost" in named[at].name else ""), day(at))
            for at in sorted(named)
        }

    def test_slips_and_disagreements_are_held_and_what_one_feed_changes_passes(self, lines: dict[str, list[RateChange]]) -> None:
        """In one test, since importing them all is most of its time."""
        assert prices(HAIKU) == {Decimal("0.1"), Decimal("0.08")}
        assert price(HAIKU, "2025-04-01") == Decimal("0.1")
        assert price(HAIKU._replace(unit=UnitKind.INPUT), "2025-04-01") == Decimal("0.8")
        assert Decimal(1) not in prices(MINISTRAL)
        changed = Counter((at, bool(line.guards)) for at, some in lines.items() for line in some if line.kind == "changed")
        assert (changed["2025-03-02", False], changed["2025-03-02", True]) == (3, 1)
        assert (changed["2025-12-31", False], changed["2025-12-31", True]) == (75, 24)
        disagreeing = [line for line in lines["2025-07-13"] if any(guard["guard"] == "disagreement" for guard in line.guards)]
        assert len(disagreeing) == 79


class TestPriceHistory:
    @pytest.fixture
    def steps(self, real_data: Path) -> list[Step]:
        return price_history.steps(real_data / "price_history.csv")

    def test_the_known_faults_are_held_and_genuine_changes_pass(self, steps: list[Step]) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        held_by: Counter[str] = Counter()
        ann = User.objects.create(username="ann")
        for step in steps:
            found = {(queries.series_key(line), line.price): line for line in imported(step.feed, step.at)}
            for change in dict.fromkeys(step.changes):
                line = found.get((change.key, change.new))
                is_fault = (change.key, change.new) in FAULTS and not (change.key.owner == FLASH.owner and step.at < day("2025-10-01"))
                sort = "fault" if is_fault else "correction" if change.is_correction else "genuine"
                fate = "agreed" if line is None else "held" if line.guards else "passed"
                counts[sort, fate] += 1
                if line and sort == "genuine":
                    held_by.update(guard["guard"] for guard in line.guards)
                if line and fate == "held" and sort != "fault":  # somebody looked at the provider's page
                    rate_decisions.accept(change=line, reason="The provider's page says so", actor=ann, now=step.at)
        assert {fate: count for (sort, fate), count in counts.items() if sort == "fault"} == {"held": len(FAULTS)}
        # The figures of the README's decisions.
        assert {fate: count for (sort, fate), count in counts.items() if sort == "genuine"} == {"passed": 177, "held": 120, "agreed": 10}
        assert held_by["jump"] == 99
