import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from pricing import price_book, tasks
from pricing.feeds import files
from pricing.feeds.files import Feed
from pricing.feeds.statement import EPOCH, Candidate, FeedError, Figure, ModelName, Reading, SeriesKey
from pricing.models import ChangeState, ProviderModel, ProviderRate, RateChange, RateImport, RateStatement, Workspace
from pricing.services import rate_decisions, rate_imports
from pricing.services.rate_imports import Imported
from pricing.services.refusals import GuardedLineError, LineDecidedError, NotKeptError, RateRefusedError, StaleLineError
from pricing.units import UnitKind
from tests.pricing.factories import LAST_YEAR, NOW, ProviderModelFactory, ProviderRateFactory, RateImportFactory, RateSeriesFactory

pytestmark = pytest.mark.django_db

SAMPLES = Path(__file__).parents[2] / "samples" / "feeds"
NIMBUS = ModelName("anthropic", "nimbus")
INPUT = SeriesKey(*NIMBUS, UnitKind.INPUT)
OUTPUT = INPUT._replace(unit=UnitKind.OUTPUT)
DAY = timedelta(days=1)


def says(price: str, key: SeriesKey = INPUT, start: datetime = EPOCH, end: datetime | None = None) -> Candidate:
    return Candidate(key, Figure(Decimal(price), 1_000_000, "USD"), start, end, "a release")


def a_feed(*candidates: Candidate, source: str = "a feed", names: tuple[str, ...] = ()) -> Feed:
    reading = Reading(source, {c.key.owner: names for c in candidates}, list(candidates))
    return Feed(reading, "prices.json", hashlib.sha256(repr(reading).encode()).hexdigest())


def imports(feed: Feed, *, at: datetime = NOW, dated: bool = False) -> Imported:
    return rate_imports.import_feed(feed=feed, as_of=at, dated=dated, actor=None, now=at)


def takes_over(feed: Feed, *, at: datetime = NOW, dated: bool = False) -> rate_decisions.Accepted:
    return rate_decisions.accept_unguarded(rate_import=imports(feed, at=at, dated=dated).rate_import, actor=None, now=at)


def rates(key: SeriesKey = INPUT) -> list[tuple[Decimal, datetime, datetime | None]]:
    rows = ProviderRate.objects.filter(series__provider_model__name=key.model, series__unit_kind=key.unit.value)
    return [(r.price, r.effective_from, r.effective_to) for r in rows.order_by("effective_from")]


def waiting() -> list[RateChange]:
    return list(RateChange.objects.filter(state=ChangeState.PENDING).order_by("id"))


@pytest.fixture
def ann() -> User:
    return User.objects.create(username="ann")


class TestImport:
    def test_writes_lines_and_nothing_else(self) -> None:
        made = imports(a_feed(says("3"), says("15", OUTPUT), names=("nimbus-*",))).rate_import
        assert not ProviderModel.objects.exists()
        assert [(str(line), line.kind, line.price, line.aliases) for line in made.changes.all()] == [
            ("anthropic/nimbus input", "new", Decimal(3), ["nimbus-*"]),
            ("anthropic/nimbus output", "new", Decimal(15), ["nimbus-*"]),
        ]
        assert made.counts == {"new": 2, "guarded": 0, "agree": 0, "rejected_before": 0, "left_out": 0}

    def test_the_same_release_again_adds_nothing(self) -> None:
        first, again = imports(a_feed(says("3"))), imports(a_feed(says("3")), at=NOW + DAY)
        assert (first.is_new, again.is_new, again.rate_import) == (True, False, first.rate_import)
        assert RateChange.objects.count() == 1

    def test_what_agrees_is_counted(self) -> None:
        takes_over(a_feed(says("3"), says("15", OUTPUT)))
        made = imports(a_feed(says("3"), says("14", OUTPUT)), at=NOW + DAY).rate_import
        assert (made.counts["changed"], made.counts["agree"]) == (1, 1)

    def test_a_newer_release_supersedes_what_waits(self) -> None:
        imports(a_feed(says("3")))
        imports(a_feed(says("4")), at=NOW + DAY)
        assert [(line.price, line.state) for line in RateChange.objects.order_by("id")] == [
            (Decimal(3), "superseded"),
            (Decimal(4), "pending"),
        ]

    def test_what_another_source_waits_with_stays(self) -> None:
        imports(a_feed(says("3")))
        imports(a_feed(says("3"), source="another feed"))
        assert [line.source for line in waiting()] == ["a feed", "another feed"]

    def test_an_older_release_is_refused(self) -> None:
        imports(a_feed(says("3")))
        with pytest.raises(FeedError, match="as of 2026-11-20 already"):
            imports(a_feed(says("4")), at=NOW - DAY)
        assert imports(a_feed(says("4"), source="an archive"), at=NOW - DAY).is_new

    def test_remembers_what_each_feed_says(self) -> None:
        imports(a_feed(says("3"), says("15", OUTPUT)))
        imports(a_feed(says("4")), at=NOW + DAY)
        assert {(s.unit_kind, s.price, s.stated_at) for s in RateStatement.objects.all()} == {
            ("input", Decimal(4), NOW + DAY),
            ("output", Decimal(15), NOW),
        }

    def test_feeds_that_disagree_hold_each_other(self) -> None:
        takes_over(a_feed(says("3")))
        imports(a_feed(says("3"), source="another feed"))
        imports(a_feed(says("2")), at=NOW + DAY)
        [line] = waiting()
        assert [guard["guard"] for guard in line.guards] == ["disagreement"]
        takes_over(a_feed(says("2"), source="another feed"), at=NOW + 2 * DAY)
        assert [price for price, *_ in rates()] == [Decimal(3), Decimal(2)]
        line.refresh_from_db()
        assert line.state == ChangeState.SUPERSEDED  # what it was compared with is over

    def test_the_books_currency_counts(self) -> None:
        Workspace.objects.update(currency="EUR")
        assert takes_over(a_feed(says("3"))).count == 0
        assert [guard["guard"] for guard in waiting()[0].guards] == ["currency"]


class TestAccepting:
    def test_fills_an_empty_catalogue(self) -> None:
        done = takes_over(a_feed(says("3", end=LAST_YEAR), says("2", start=LAST_YEAR), names=("nimbus-*",)))
        assert (done.count, done.refused) == (2, ())
        assert rates() == [(Decimal(3), EPOCH, LAST_YEAR), (Decimal(2), LAST_YEAR, None)]
        model = ProviderModel.objects.get()
        assert (model.aliases, model.history.get().history_change_reason) == (["nimbus-*"], "import from a feed")
        rate = ProviderRate.objects.get(price=3)
        assert (rate.source, rate.source_detail, rate.currency, rate.created_at) == ("a feed", "a release", "USD", NOW)
        line = RateChange.objects.first()
        assert line is not None
        assert (line.state, line.rate, line.decided_at) == (ChangeState.ACCEPTED, rate, NOW)

    def test_a_change_holds_from_its_acceptance(self) -> None:
        takes_over(a_feed(says("3")))
        made = imports(a_feed(says("2")), at=NOW + DAY).rate_import
        rate_decisions.accept_unguarded(rate_import=made, actor=None, now=NOW + 3 * DAY)
        assert rates() == [(Decimal(3), EPOCH, NOW + 3 * DAY), (Decimal(2), NOW + 3 * DAY, None)]

    def test_a_change_of_a_dated_file_holds_from_its_date(self) -> None:
        takes_over(a_feed(says("3")), at=LAST_YEAR, dated=True)
        done = rate_decisions.accept_unguarded(
            rate_import=rate_imports.import_feed(feed=a_feed(says("2")), as_of=NOW, dated=True, actor=None, now=NOW + DAY).rate_import,
            actor=None,
            now=NOW + DAY,
        )
        assert rates() == [(Decimal(3), EPOCH, NOW), (Decimal(2), NOW, None)]
        assert done.past == 1

    def test_the_same_day_twice_rewrites_nothing(self) -> None:
        takes_over(a_feed(says("3")), at=LAST_YEAR, dated=True)
        takes_over(a_feed(says("2")), dated=True)
        rate_decisions.accept_unguarded(
            rate_import=rate_imports.import_feed(feed=a_feed(says("2.5")), as_of=NOW, dated=True, actor=None, now=NOW + DAY).rate_import,
            actor=None,
            now=NOW + DAY,
        )
        assert rates() == [(Decimal(3), EPOCH, NOW), (Decimal(2), NOW, NOW + DAY), (Decimal("2.5"), NOW + DAY, None)]

    def test_what_is_announced_is_scheduled(self) -> None:
        takes_over(a_feed(says("3")))
        takes_over(a_feed(says("3", end=NOW + 30 * DAY), says("2", start=NOW + 30 * DAY)), at=NOW + DAY)
        assert rates() == [(Decimal(3), EPOCH, NOW + 30 * DAY), (Decimal(2), NOW + 30 * DAY, None)]

    def test_a_rise_ahead_leaves_the_present_price_open(self, ann: User) -> None:
        takes_over(a_feed(says("2", end=NOW + 30 * DAY), says("3", start=NOW + 30 * DAY)))
        assert rates() == [(Decimal(2), EPOCH, None)]
        [line] = waiting()
        rate_decisions.accept(change=line, reason="The provider wrote to us", actor=ann, now=NOW)
        assert rates() == [(Decimal(2), EPOCH, NOW + 30 * DAY), (Decimal(3), NOW + 30 * DAY, None)]

    def test_a_scheduled_price_stays(self) -> None:
        takes_over(a_feed(says("3")))
        takes_over(a_feed(says("3", end=NOW + 30 * DAY), says("2", start=NOW + 30 * DAY)), at=NOW + DAY)
        done = takes_over(a_feed(says("2.9", end=NOW + 30 * DAY), says("2", start=NOW + 30 * DAY)), at=NOW + 2 * DAY)
        assert len(rates()) == 2
        assert [guard["guard"] for line in waiting() for guard in line.guards] == ["older"]
        assert done.count == 0

    def test_an_end_that_the_feed_states(self) -> None:
        takes_over(a_feed(says("3"), says("15", OUTPUT)))
        takes_over(a_feed(says("3"), says("15", OUTPUT, end=NOW + DAY)), at=NOW + 2 * DAY)
        assert rates(OUTPUT) == [(Decimal(15), EPOCH, NOW + DAY)]

    def test_names_are_added_with_their_history(self) -> None:
        takes_over(a_feed(says("3"), names=("nimbus-1",)))
        takes_over(a_feed(says("3"), names=("nimbus-1", "nimbus-*")), at=NOW + DAY)
        model = ProviderModel.objects.get()
        assert model.aliases == ["nimbus-1", "nimbus-*"]
        assert [row.history_change_reason for row in model.history.all()] == ["import from a feed"] * 2

    def test_a_guarded_line_is_not_taken_with_the_rest(self) -> None:
        takes_over(a_feed(says("3"), says("60", OUTPUT)))
        done = takes_over(a_feed(says("30"), says("50", OUTPUT), says("9", OUTPUT._replace(model="cirrus"))), at=NOW + DAY)
        assert done.count == 2
        assert rates() == [(Decimal(3), EPOCH, None)]
        assert [str(line) for line in waiting()] == ["anthropic/nimbus input"]

    def test_a_guarded_line_is_taken_by_itself_with_a_reason(self, ann: User) -> None:
        takes_over(a_feed(says("3")))
        imports(a_feed(says("0.3")), at=NOW + DAY)
        [line] = waiting()
        with pytest.raises(GuardedLineError, match="say why it is right"):
            rate_decisions.accept(change=line, reason=" ", actor=ann, now=NOW + DAY)
        rate = rate_decisions.accept(change=line, reason="Their page says so", actor=ann, now=NOW + DAY)
        assert rates() == [(Decimal(3), EPOCH, NOW + DAY), (Decimal("0.3"), NOW + DAY, None)]
        assert (rate and rate.verified_by, line.decided_by, line.decision_reason) == (ann, ann, "Their page says so")

    def test_a_line_is_decided_once(self, ann: User) -> None:
        imports(a_feed(says("3")))
        [line] = waiting()
        rate_decisions.accept(change=line, reason="", actor=ann, now=NOW)
        with pytest.raises(LineDecidedError, match="is accepted already"):
            rate_decisions.accept(change=line, reason="", actor=ann, now=NOW)
        with pytest.raises(LineDecidedError, match="is accepted already"):
            rate_decisions.reject(changes=[line.pk], reason="No", actor=ann, now=NOW)

    def test_what_was_compared_with_another_price_is_refused(self, ann: User) -> None:
        series = RateSeriesFactory.create(provider_model=ProviderModelFactory.create(name="nimbus"))
        ProviderRateFactory.create(series=series, price=Decimal(3), effective_from=EPOCH, effective_to=NOW + DAY)
        ProviderRateFactory.create(series=series, price=Decimal("2.5"), effective_from=NOW + DAY, source="an invoice")
        made = imports(a_feed(says("2")), at=NOW)
        [line] = waiting()
        with pytest.raises(StaleLineError, match="has changed since this was compared"):
            rate_decisions.accept(change=line, reason="Yes", actor=ann, now=NOW + 2 * DAY)
        assert rate_decisions.accept_unguarded(rate_import=made.rate_import, actor=None, now=NOW + 2 * DAY).count == 0
        line.refresh_from_db()
        assert line.state == ChangeState.PENDING

    def test_the_charge_sees_it_at_once(self) -> None:
        takes_over(a_feed(says("3")))
        found = price_book.current().rates_for(
            provider="anthropic", model="nimbus", service_tier="", is_batch=False, input_tokens=1, at=NOW
        )
        assert {kind: rate.price for kind, rate in found.items()} == {UnitKind.INPUT: Decimal(3)}


class TestRejecting:
    def test_is_kept_and_not_asked_again(self, ann: User) -> None:
        takes_over(a_feed(says("3")))
        imports(a_feed(says("4")), at=NOW + DAY)
        [line] = waiting()
        assert rate_decisions.reject(changes=[line.pk], reason="We have a contract", actor=ann, now=NOW + DAY) == 1
        again = imports(a_feed(says("4"), says("15", OUTPUT)), at=NOW + 2 * DAY).rate_import
        assert (again.counts["rejected_before"], [line.unit_kind for line in waiting()]) == (1, ["output"])
        imports(a_feed(says("4.5"), says("15", OUTPUT)), at=NOW + 3 * DAY)
        assert [line.price for line in waiting()] == [Decimal("4.5"), Decimal(15)]

    def test_asks_why(self, ann: User) -> None:
        imports(a_feed(says("3")))
        with pytest.raises(RateRefusedError, match="Say why"):
            rate_decisions.reject(changes=[waiting()[0].pk], reason="", actor=ann, now=NOW)

    def test_is_asked_again_once_the_catalogue_has_moved(self, ann: User) -> None:
        takes_over(a_feed(says("3")))
        imports(a_feed(says("4")), at=NOW + DAY)
        rate_decisions.reject(changes=[waiting()[0].pk], reason="They bill 3", actor=ann, now=NOW + DAY)
        takes_over(a_feed(says("5")), at=NOW + 2 * DAY)
        again = imports(a_feed(says("4"), says("15", OUTPUT)), at=NOW + 3 * DAY).rate_import
        assert [(line.ours, line.theirs) for line in waiting() if line.unit_kind == "input"] == [
            (Figure(Decimal(5), 1_000_000, "USD"), Figure(Decimal(4), 1_000_000, "USD"))
        ]
        assert again.counts["rejected_before"] == 0

    def test_names_are_rejected_by_name(self, ann: User) -> None:
        takes_over(a_feed(says("3"), names=("nimbus-1",)))
        imports(a_feed(says("3"), names=("nimbus-1", "nimbus-*")), at=NOW + DAY)
        rate_decisions.reject(changes=[waiting()[0].pk], reason="Too wide", actor=ann, now=NOW + DAY)
        imports(a_feed(says("3"), says("15", OUTPUT), names=("nimbus-1", "nimbus-*")), at=NOW + 2 * DAY)
        assert [line.unit_kind for line in waiting()] == ["output"]
        imports(a_feed(says("3"), names=("nimbus-1", "nimbus-2")), at=NOW + 3 * DAY)
        assert [line.aliases for line in waiting()] == [["nimbus-2"]]


def again(at: datetime, source: str = "a feed") -> Imported:
    return rate_imports.compare_again(source=source, actor=None, now=at)


class TestComparingAgain:
    def test_leads_from_a_superseded_line_to_what_differs_now(self) -> None:
        """Two feeds said the same; what one of them waits with is over when the other's line is accepted, or so it seemed."""
        takes_over(a_feed(says("3"), source="another feed"))
        imports(a_feed(says("2")), at=NOW + DAY)
        takes_over(a_feed(says("2.5"), source="another feed"), at=NOW + 2 * DAY)
        rate_decisions.accept(
            change=RateChange.objects.get(price=Decimal("2.5")),
            reason="Their page says so",
            actor=User.objects.create(username="ann"),
            now=NOW + 2 * DAY,
        )
        assert not waiting()
        assert not imports(a_feed(says("2")), at=NOW + 3 * DAY).is_new
        done = again(NOW + 3 * DAY)
        assert done.is_new
        assert [(line.ours, line.price) for line in waiting()] == [(Figure(Decimal("2.5"), 1_000_000, "USD"), Decimal(2))]
        assert done.rate_import.again_of == RateImport.objects.filter(source="a feed").order_by("id").first()

    def test_a_stale_line_can_be_accepted_after_it(self, ann: User) -> None:
        series = RateSeriesFactory.create(provider_model=ProviderModelFactory.create(name="nimbus"))
        ProviderRateFactory.create(series=series, price=Decimal(3), effective_from=EPOCH, effective_to=NOW + DAY)
        ProviderRateFactory.create(series=series, price=Decimal("2.5"), effective_from=NOW + DAY, source="an invoice")
        imports(a_feed(says("2")), dated=True)
        [stale] = waiting()
        with pytest.raises(StaleLineError, match="Compare the feed again"):
            rate_decisions.accept(change=stale, reason="Yes", actor=ann, now=NOW + 2 * DAY)
        again(NOW + 2 * DAY)
        stale.refresh_from_db()
        assert stale.state == ChangeState.SUPERSEDED
        [fresh] = waiting()
        rate_decisions.accept(change=fresh, reason="Yes", actor=ann, now=NOW + 3 * DAY)
        assert [price for price, *_ in rates()] == [Decimal(3), Decimal("2.5"), Decimal(2)]
        assert rates()[2][1] == NOW + 3 * DAY  # what began after the day of the release answers for its time

    def test_a_price_that_came_and_ended_since_keeps_its_time(self) -> None:
        imports(a_feed(says("2")), dated=True)
        series = RateSeriesFactory.create(provider_model=ProviderModelFactory.create(name="nimbus"))
        ProviderRateFactory.create(series=series, effective_from=LAST_YEAR, effective_to=NOW + DAY)
        done = again(NOW + 2 * DAY).rate_import
        assert rate_decisions.accept_unguarded(rate_import=done, actor=None, now=NOW + 3 * DAY).count == 1
        assert rates() == [(Decimal(3), LAST_YEAR, NOW + DAY), (Decimal(2), NOW + DAY, None)]

    def test_a_difference_waits_once_however_often_it_is_compared(self) -> None:
        first = imports(a_feed(says("3"), says("15", OUTPUT)), dated=True).rate_import
        for n in range(1, 4):
            done = again(NOW + n * DAY)
            assert (done.is_new, done.rate_import) == (False, first)
        takes_over(a_feed(says("3"), source="another feed"), at=NOW + 4 * DAY)
        second = again(NOW + 5 * DAY)
        assert (second.is_new, again(NOW + 6 * DAY).rate_import) == (True, second.rate_import)
        assert [(line.unit_kind, line.rate_import) for line in waiting()] == [("output", second.rate_import)]

    def test_imports_nothing_and_leaves_the_day_of_the_release(self) -> None:
        first = imports(a_feed(says("3"))).rate_import
        takes_over(a_feed(says("3"), source="another feed"), at=NOW + DAY)
        again(NOW + 9 * DAY)
        assert not imports(a_feed(says("3")), at=NOW + 9 * DAY).is_new
        assert RateStatement.objects.get(source="a feed").stated_at == NOW
        assert imports(a_feed(says("4")), at=NOW + 5 * DAY).is_new  # a release between the two is newer than the one before
        assert first.comparisons.count() == 1

    def test_is_of_the_newest_release(self) -> None:
        imports(a_feed(says("3")))
        imports(a_feed(says("4")), at=NOW + DAY)
        ProviderRateFactory.create(series=RateSeriesFactory.create(provider_model=ProviderModelFactory.create(name="nimbus")))
        again(NOW + 3 * DAY)
        assert [(line.kind, line.price) for line in waiting()] == [("changed", Decimal(4))]

    def test_does_not_ask_again_what_was_rejected(self, ann: User) -> None:
        takes_over(a_feed(says("3")))
        imports(a_feed(says("4")), at=NOW + DAY)
        rate_decisions.reject(changes=[waiting()[0].pk], reason="No", actor=ann, now=NOW + DAY)
        assert not again(NOW + 2 * DAY).is_new
        assert not waiting()

    def test_needs_a_release_that_was_kept(self) -> None:
        with pytest.raises(NotKeptError, match="with its file and --again"):
            again(NOW)
        RateImportFactory.create(source="a feed", sha256=a_feed(says("3")).sha256)  # from before releases were kept
        with pytest.raises(NotKeptError):
            again(NOW)
        done = rate_imports.compare_again(source="a feed", feed=a_feed(says("3")), actor=None, now=NOW)
        assert (done.is_new, [line.price for line in waiting()]) == (True, [Decimal(3)])


class TestTheInstalledFeed:
    def take_over(self, *providers_: str) -> None:
        made = rate_imports.import_feed(
            feed=files.installed(only_providers=providers_), as_of=NOW, providers=providers_, actor=None, now=NOW
        )
        rate_decisions.accept_unguarded(rate_import=made.rate_import, actor=None, now=NOW)

    @pytest.mark.parametrize(
        "name", ["claude-sonnet-4-5-20250929", "claude-opus-4-5-20251101", "claude-haiku-4-5-20251001", "claude-sonnet-4-20250514"]
    )
    def test_prices_the_models_that_apps_report(self, name: str) -> None:
        self.take_over("anthropic")
        found = price_book.current().rates_for(provider="anthropic", model=name, service_tier="", is_batch=False, input_tokens=1000, at=NOW)
        assert found.keys() == {UnitKind.INPUT, UnitKind.OUTPUT, UnitKind.CACHE_READ, UnitKind.CACHE_WRITE, UnitKind.CACHE_WRITE_1H}

    def test_is_compared_every_day_and_listed_once(self) -> None:
        tasks.compare_installed_rates()
        tasks.compare_installed_rates()
        assert RateImport.objects.count() == 1
        assert not ProviderRate.objects.exists()


class TestCommand:
    def run(self, *options: str) -> str:
        out = StringIO()
        call_command("import_rates", *options, stdout=out)
        return out.getvalue()

    def test_prints_the_diff_and_writes_no_rate(self) -> None:
        text = self.run(str(SAMPLES / "litellm_1.json"), "--as-of", "2026-01-10")
        assert text.startswith("litellm as of 2026-01-10: litellm_1.json: 14 new, 0 changed, 0 announced, 0 ended, 0 alias\n")
        assert "x apps do not report this unit" in text
        assert not ProviderRate.objects.exists()

    def test_accepts_what_no_guard_holds(self) -> None:
        assert "accepted: 14\n" in self.run(str(SAMPLES / "litellm_1.json"), "--as-of", "2026-01-10", "--accept")
        text = self.run(str(SAMPLES / "litellm_2.json"), "--as-of", "2026-02-10", "--accept", "-v", "2")
        assert ": 0 new, 5 changed," in text
        assert "held back by a guard: 1\n  1 x Jump of 5 times or more\n" in text
        assert "anthropic/nimbus-large cache read: 0.1 USD per 1,000,000 -> 0.8 USD per 1,000,000" in text
        assert "accepted: 4\n  4 of them begin in the past" in text
        cached = ProviderRate.objects.filter(series__unit_kind="cache_read")
        assert [(rate.price, rate.effective_to) for rate in cached] == [(Decimal("0.1"), None)]
        changed = ProviderRate.objects.get(series__unit_kind="output", series__provider_model__name="nimbus-large", price=4)
        assert changed.effective_from == datetime(2026, 2, 10, tzinfo=UTC)

    def test_twice_says_so(self) -> None:
        self.run(str(SAMPLES / "litellm_1.json"))
        text = self.run(str(SAMPLES / "litellm_1.json"), "--accept")
        assert "so nothing is new" in text
        assert "accepted: 14\n" in text

    def test_again_compares_what_was_imported_before(self) -> None:
        self.run(str(SAMPLES / "litellm_1.json"))
        ProviderRateFactory.create(series=RateSeriesFactory.create(provider_model=ProviderModelFactory.create(name="nimbus-large")))
        assert ": 14 new" in self.run(str(SAMPLES / "litellm_1.json"))
        assert ": 13 new, 1 changed" in self.run(str(SAMPLES / "litellm_1.json"), "--again")
        assert "so nothing is new" in self.run(str(SAMPLES / "litellm_1.json"), "--again")
        assert RateImport.objects.count() == 2

    def test_a_file_may_have_a_source_of_its_own(self) -> None:
        self.run(str(SAMPLES / "litellm_1.json"), "--source", "tokencost", "--providers", "anthropic, google", "--accept")
        assert set(ProviderRate.objects.values_list("source", "series__provider_model__provider")) == {
            ("tokencost", "anthropic"),
            ("tokencost", "google"),
        }

    def test_a_stated_date_is_kept(self) -> None:
        self.run(str(SAMPLES / "data.json"), "--accept")
        june = datetime(2026, 6, 10, tzinfo=UTC)
        found = ProviderRate.objects.filter(series__unit_kind="input", series__provider_model__name="nimbus-large")
        assert {(r.price, r.effective_from, r.effective_to) for r in found} == {
            (Decimal(1), EPOCH, june),
            (Decimal("0.8"), june, None),
        }

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["genai-prices", "--providers", "nobody"], "no provider called nobody"),
            (["genai-prices", "--source", "mine"], "--source is for files"),
            (["/nowhere/prices.json"], "cannot be read"),
            ([str(SAMPLES / "README.md")], "is not JSON"),
            (["genai-prices", "--as-of", "2999-01-01"], "lies ahead"),
        ],
    )
    def test_refuses_what_it_cannot_read(self, options: list[str], message: str) -> None:
        with pytest.raises(CommandError, match=message):
            self.run(*options)


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", '[{"id": 3, "models": []}]', '{"gpt": {"litellm_provider": "openai", "mode": [1], "output_cost_per_token": 1e400}}'],
)
def test_a_file_without_a_sound_price_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "feed.json"
    file.write_text(content)
    with pytest.raises(FeedError):
        files.from_file(file)
