from datetime import UTC, datetime
from decimal import Decimal

from pricing.feeds.diff import Catalogue, Kind, Known, Line, compare
from pricing.feeds.statement import EPOCH, Candidate, Figure, ModelName, Reading, SeriesKey
from pricing.units import UnitKind

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)
NIMBUS = ModelName("anthropic", "nimbus")
INPUT = SeriesKey(*NIMBUS, UnitKind.INPUT)
CACHED = INPUT._replace(unit=UnitKind.CACHE_READ)
LONG = INPUT._replace(context_threshold=200_001)


def figure(price: str, *, per: int = 1_000_000) -> Figure:
    return Figure(Decimal(price), per, "USD")


def says(price: str, key: SeriesKey = INPUT, start: datetime = EPOCH, end: datetime | None = None) -> Candidate:
    return Candidate(key, figure(price), start, end, "a release")


def knows(price: str, start: datetime = EPOCH, end: datetime | None = None, source: str = "a feed") -> Known:
    return Known(figure(price), start, end, source)


def lines(
    *candidates: Candidate,
    known: dict[SeriesKey, list[Known]] | None = None,
    names: tuple[str, ...] = (),
    holds_from: datetime | None = None,
    catalogue: Catalogue | None = None,
) -> list[Line]:
    reading = Reading("a feed", {c.key.owner: names for c in candidates} or {NIMBUS: names}, list(candidates))
    ours = catalogue or Catalogue({key.owner: () for key in known or {}}, known or {})
    return compare(reading, ours, as_of=AS_OF, holds_from=holds_from)


def told(line: Line) -> tuple[Kind, datetime | None, datetime | None]:
    return line.kind, line.effective_from, line.effective_to


class TestNew:
    def test_a_series_that_nothing_answered_for_holds_as_long_as_the_feed_says(self) -> None:
        found = lines(says("3", end=MAY), says("2", start=MAY), names=("nimbus-*",))
        assert [told(line) for line in found] == [(Kind.NEW, EPOCH, MAY), (Kind.NEW, MAY, None)]
        assert [(line.ours, line.theirs, line.aliases) for line in found] == [
            (None, figure("3"), ("nimbus-*",)),
            (None, figure("2"), ("nimbus-*",)),
        ]

    def test_what_another_unit_answered_for_begins_with_its_acceptance(self) -> None:
        known = {INPUT: [knows("3")]}
        assert [told(line) for line in lines(says("3"), says("0.3", CACHED), known=known)] == [(Kind.NEW, None, None)]
        assert [told(line) for line in lines(says("3"), says("6", LONG), known=known)] == [(Kind.NEW, None, None)]

    def test_an_hour_in_the_cache_was_answered_for_by_input_and_never_by_five_minutes(self) -> None:
        written, hour = INPUT._replace(unit=UnitKind.CACHE_WRITE), INPUT._replace(unit=UnitKind.CACHE_WRITE_1H)
        stated = (says("3"), says("3.75", written), says("6", hour))
        as_input = lines(*stated, known={INPUT: [knows("3")]})
        unpriced = lines(*stated, known={INPUT: [knows("3")], written: [knows("3.75")]})
        assert [(line.key, told(line)) for line in as_input] == [(written, (Kind.NEW, None, None)), (hour, (Kind.NEW, None, None))]
        assert [(line.key, told(line)) for line in unpriced] == [(hour, (Kind.NEW, EPOCH, None))]

    def test_what_nothing_could_answer_for_begins_as_the_feed_says(self) -> None:
        images = INPUT._replace(unit=UnitKind.IMAGE)
        assert [told(line) for line in lines(says("3"), says("1", images), known={INPUT: [knows("3")]})] == [(Kind.NEW, EPOCH, None)]

    def test_a_price_after_a_gap(self) -> None:
        assert [told(line) for line in lines(says("3"), known={INPUT: [knows("3", end=MAY)]})] == [(Kind.NEW, None, None)]


class TestChanged:
    def test_holds_from_its_acceptance_where_nothing_says_when(self) -> None:
        [line] = lines(says("2"), known={INPUT: [knows("3")]})
        assert told(line) == (Kind.CHANGED, None, None)
        assert (line.ours, line.theirs) == (figure("3"), figure("2"))

    def test_holds_from_the_day_that_the_feed_is_of(self) -> None:
        assert [told(line) for line in lines(says("2"), known={INPUT: [knows("3")]}, holds_from=MAY)] == [(Kind.CHANGED, MAY, None)]

    def test_holds_from_the_date_that_the_feed_states(self) -> None:
        found = lines(says("3", end=MAY), says("2", start=MAY), known={INPUT: [knows("3")]}, holds_from=AS_OF)
        assert [told(line) for line in found] == [(Kind.CHANGED, MAY, None)]

    def test_does_not_begin_before_the_rate_that_it_follows(self) -> None:
        known = {INPUT: [knows("5", end=MAY), knows("3", start=MAY)]}
        assert [told(line) for line in lines(says("2", start=datetime(2026, 4, 1, tzinfo=UTC)), known=known)] == [
            (Kind.CHANGED, None, None)
        ]

    def test_the_same_price_for_another_number_of_units_is_no_change(self) -> None:
        per_thousand = Candidate(INPUT, figure("0.003", per=1000), EPOCH, None, "a release")
        assert lines(per_thousand, known={INPUT: [knows("3")]}) == []
        assert lines(says("3.0"), known={INPUT: [knows("3")]}) == []


class TestAnnounced:
    def test_a_price_ahead_is_scheduled_and_the_present_one_stays_open(self) -> None:
        found = lines(says("2", end=JULY), says("4", start=JULY))
        assert [told(line) for line in found] == [(Kind.NEW, EPOCH, None), (Kind.ANNOUNCED, JULY, None)]

    def test_is_not_repeated_once_it_is_scheduled(self) -> None:
        known = {INPUT: [knows("2", end=JULY), knows("4", start=JULY)]}
        assert lines(says("2", end=JULY), says("4", start=JULY), known=known) == []

    def test_a_return_from_a_discount_is_announced_with_it(self) -> None:
        found = lines(says("2", end=JULY), says("4", start=JULY), known={INPUT: [knows("4")]})
        assert [told(line) for line in found] == [(Kind.CHANGED, None, None), (Kind.ANNOUNCED, JULY, None)]


class TestEnded:
    def test_where_the_feed_says_when(self) -> None:
        past = lines(says("3"), says("6", LONG, end=MAY), known={INPUT: [knows("3")], LONG: [knows("6")]})
        ahead = lines(says("3"), says("6", LONG, end=JULY), known={INPUT: [knows("3")], LONG: [knows("6")]})
        assert [(told(line), line.is_dropped) for line in past] == [((Kind.ENDED, MAY, None), False)]
        assert [(told(line), line.is_dropped) for line in ahead] == [((Kind.ENDED, JULY, None), False)]

    def test_where_the_feed_no_longer_states_what_it_brought(self) -> None:
        [line] = lines(says("3"), known={INPUT: [knows("3")], CACHED: [knows("0.3")]})
        assert (line.key, told(line), line.is_dropped) == (CACHED, (Kind.ENDED, None, None), True)

    def test_what_another_source_brought_stays(self) -> None:
        assert lines(says("3"), known={INPUT: [knows("3")], CACHED: [knows("0.3", source="an invoice")]}) == []

    def test_a_model_that_the_feed_does_not_have_stays(self) -> None:
        other = INPUT._replace(model="cirrus")
        assert lines(says("3"), known={INPUT: [knows("3")], other: [knows("1")]}) == []


class TestNames:
    def test_other_names_are_a_line_of_their_own(self) -> None:
        ours = Catalogue({NIMBUS: ("nimbus-1",)}, {INPUT: [knows("3")]})
        [line] = lines(says("3"), names=("nimbus-1", "nimbus-*"), catalogue=ours)
        assert (line.kind, line.aliases, line.key) == (Kind.ALIAS, ("nimbus-*",), None)

    def test_a_name_that_a_pattern_covers_at_the_same_price_is_known(self) -> None:
        ours = Catalogue({ModelName("anthropic", "family"): ("nimbus*",)}, {INPUT._replace(model="family"): [knows("3")]})
        reading = Reading("a feed", {NIMBUS: ()}, [says("3"), says("0.3", CACHED)])
        assert compare(reading, ours, as_of=AS_OF, holds_from=None) == []
        assert [s.reason for s in reading.skipped] == ["the catalogue knows this name as family, priced alike"]

    def test_at_another_price_it_is_told(self) -> None:
        ours = Catalogue({ModelName("anthropic", "family"): ("nimbus*",)}, {INPUT._replace(model="family"): [knows("3")]})
        found = lines(says("2"), says("0.3", CACHED), catalogue=ours)
        assert [(line.kind, line.answered_by) for line in found] == [(Kind.NEW, "family")] * 2
