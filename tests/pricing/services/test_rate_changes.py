"""Changing the catalogue by hand: adding rates and names, and correcting a rate for the past."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection

from pricing import price_book
from pricing.models import ProviderModel, ProviderRate
from pricing.services import rate_changes
from pricing.services.refusals import RateRefusedError
from pricing.units import UnitKind
from tests.billing.models.raw import refused
from tests.people import a_person
from tests.pricing.factories import LAST_YEAR, NOW, ProviderModelFactory, ProviderRateFactory, RateSeriesFactory

pytestmark = pytest.mark.django_db

MILLION = 1_000_000
IN_JUNE = NOW - timedelta(days=150)


@pytest.fixture
def vera(db: None) -> User:
    return a_person(name="vera")


def correct(rate: ProviderRate, price: str, vera: User, **terms: object) -> list[ProviderRate]:
    facts = {"per": MILLION, "source": "invoice", "reason": "Typed wrong", "actor": vera, "now": NOW}
    return rate_changes.correct(rate=rate, price=Decimal(price), **(facts | terms))  # type: ignore[arg-type]


def price_of(rate: ProviderRate, at: object) -> Decimal | None:
    model = rate.series.provider_model
    book = price_book.current()
    found = book.rates_for(provider=model.provider, model=model.name, service_tier="", is_batch=False, input_tokens=1, at=at)  # type: ignore[arg-type]
    return found[UnitKind.INPUT].price if UnitKind.INPUT in found else None


class TestCorrect:
    def test_takes_the_whole_period_of_the_wrong_rate(self, vera: User) -> None:
        wrong = ProviderRateFactory.create(effective_to=NOW)
        [right] = correct(wrong, "2.5", vera)
        assert (right.effective_from, right.effective_to, right.currency) == (wrong.effective_from, wrong.effective_to, wrong.currency)
        assert (right.corrects_id, right.correction_reason, right.verified_by) == (wrong.pk, "Typed wrong", vera)
        assert price_of(wrong, LAST_YEAR) == Decimal("2.5")

    def test_from_a_moment_on_leaves_the_figure_before_it(self, vera: User) -> None:
        wrong = ProviderRateFactory.create()
        before, after = correct(wrong, "4", vera, since=IN_JUNE)
        assert (before.effective_to, after.effective_from, after.effective_to) == (IN_JUNE, IN_JUNE, None)
        assert (price_of(wrong, IN_JUNE - timedelta(days=1)), price_of(wrong, IN_JUNE)) == (3, 4)

    def test_keeps_the_wrong_rate_for_the_audit(self, vera: User) -> None:
        wrong = ProviderRateFactory.create()
        correct(wrong, "2.5", vera)
        wrong.refresh_from_db()
        assert (wrong.price, wrong.voided_at) == (3, NOW)

    def test_can_be_corrected_again_in_its_place(self, vera: User) -> None:
        wrong = ProviderRateFactory.create()
        [right] = correct(wrong, "2.5", vera)
        with pytest.raises(RateRefusedError, match="corrected already"):
            correct(wrong, "2.6", vera)
        correct(right, "2.6", vera)
        assert price_of(wrong, LAST_YEAR) == Decimal("2.6")

    def test_refuses_the_figure_that_the_rate_has(self, vera: User) -> None:
        with pytest.raises(RateRefusedError, match="figure that the rate has"):
            correct(ProviderRateFactory.create(), "0.003", vera, per=1_000)

    @pytest.mark.parametrize("per", [7, 0, 2_000, 10**10])
    def test_refuses_a_figure_for_an_odd_number_of_units(self, vera: User, per: int) -> None:
        with pytest.raises(RateRefusedError, match="power of ten"):
            correct(ProviderRateFactory.create(), "2", vera, per=per)

    @pytest.mark.parametrize("since", [LAST_YEAR - timedelta(days=1), NOW])
    def test_refuses_a_moment_outside_the_period(self, vera: User, since: object) -> None:
        with pytest.raises(RateRefusedError, match="within the period"):
            correct(ProviderRateFactory.create(effective_to=NOW), "2", vera, since=since)


class TestTheDatabase:
    """Refuses it as well, whoever asks; what spans rows at the end of the transaction."""

    def _settle(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def test_a_rate_is_not_voided_without_a_correction(self) -> None:
        rate = ProviderRateFactory.create()
        with refused("take exactly its period"):
            ProviderRate.objects.filter(pk=rate.pk).update(voided_at=NOW)
            self._settle()

    def test_a_correction_leaves_no_gap(self) -> None:
        rate = ProviderRateFactory.create()
        with refused("take exactly its period"):
            ProviderRate.objects.filter(pk=rate.pk).update(voided_at=NOW)
            ProviderRateFactory.create(series=rate.series, corrects=rate, correction_reason="x", effective_from=IN_JUNE)
            self._settle()

    def test_a_correction_is_of_the_same_series(self) -> None:
        rate = ProviderRateFactory.create()
        with refused("voided rate of its series"):
            ProviderRate.objects.filter(pk=rate.pk).update(voided_at=NOW)
            ProviderRateFactory.create(series=RateSeriesFactory.create(), corrects=rate, correction_reason="x")
            self._settle()

    def test_a_voided_rate_stays_so_and_is_not_ended(self, vera: User) -> None:
        rate = ProviderRateFactory.create()
        correct(rate, "2", vera)
        for change in ({"voided_at": None}, {"voided_at": NOW + timedelta(days=1)}, {"effective_to": NOW}):
            with refused("never changes"):
                ProviderRate.objects.filter(pk=rate.pk).update(**change)

    def test_rates_in_force_still_never_overlap(self, vera: User) -> None:
        rate = ProviderRateFactory.create()
        correct(rate, "2", vera)
        with refused("provider_rate_no_overlap"):
            ProviderRateFactory.create(series=rate.series)


def add(vera: User, **terms: object) -> list[ProviderRate]:
    facts = {"provider": "acme", "model": "nova-2", "prices": {UnitKind.INPUT: (Decimal(3), MILLION)}, "effective_from": LAST_YEAR}
    common = {"currency": "USD", "source": "price page", "actor": vera, "now": NOW}
    return rate_changes.add(**(facts | common | terms))  # type: ignore[arg-type]


class TestAdd:
    def test_adds_the_model_with_its_history(self, vera: User) -> None:
        [rate] = add(vera, provider="Acme")
        assert str(rate.series.provider_model) == "acme/nova-2"
        assert ProviderModel.history.get().history_user == vera
        assert price_of(rate, NOW) == 3

    def test_fills_the_gap_before_a_later_rate(self, vera: User) -> None:
        add(vera, effective_from=IN_JUNE)
        [rate] = add(vera)
        assert rate.effective_to == IN_JUNE

    def test_adds_to_the_model_that_has_the_name_as_an_alias(self, vera: User) -> None:
        model = ProviderModelFactory.create(provider="acme", name="nova", aliases=["nova-*"])
        [rate] = add(vera)
        assert rate.series.provider_model == model

    def test_refuses_a_second_figure_for_a_moment_and_writes_nothing(self, vera: User) -> None:
        add(vera)
        with pytest.raises(RateRefusedError, match="Correct that one"):
            add(vera, prices={UnitKind.OUTPUT: (Decimal(3), MILLION), UnitKind.INPUT: (Decimal(4), MILLION)})
        assert ProviderRate.objects.count() == 1

    @pytest.mark.parametrize(
        ("terms", "words"),
        [
            ({"model": "*"}, "of one model"),
            ({"model": "nova-*"}, "of one model"),
            ({"model": "nova-####"}, "of one model"),
            ({"model": "--"}, "in letters and digits"),
            ({"model": "nova\u200b"}, "in letters and digits"),
            ({"provider": "*"}, "beginning with a letter"),
            ({"provider": " acme"}, "beginning with a letter"),
            ({"provider": "acme\n"}, "beginning with a letter"),
            ({"provider": "аcme"}, "beginning with a letter"),  # noqa: RUF001 - a Cyrillic a
            ({"prices": {UnitKind.INPUT: (Decimal(3), 7)}}, "power of ten"),
        ],
    )
    def test_refuses_what_no_usage_could_ever_match(self, vera: User, terms: dict[str, object], words: str) -> None:
        with pytest.raises(RateRefusedError, match=words):
            add(vera, **terms)
        assert not ProviderModel.objects.exists()

    @pytest.mark.parametrize("provider", ["x-ai", "vertex_ai", "Black Forest Labs", "AT&T", "a.b/c"])
    def test_takes_the_names_that_providers_have(self, vera: User, provider: str) -> None:
        assert add(vera, provider=provider)

    def test_refuses_to_add_nothing(self, vera: User) -> None:
        with pytest.raises(RateRefusedError, match="at least one price"):
            add(vera, prices={})


class TestAddAlias:
    def test_lets_a_model_be_found_by_it(self, vera: User) -> None:
        model = ProviderModelFactory.create(provider="acme", name="nova")
        rate_changes.add_alias(model=model, alias="nova-2", reason="Same model", actor=vera)
        found = price_book.current().catalogue.find("acme", "nova-2")
        assert found
        assert found.name == "nova"
        assert ProviderModel.history.filter(history_user=vera).latest().history_change_reason == "Same model"

    def test_refuses_a_name_that_would_be_claimed_twice(self, vera: User) -> None:
        model = ProviderModelFactory.create(provider="acme", name="nova")
        ProviderModelFactory.create(provider="acme", name="nova-mini", aliases=["Small"])
        for alias, words in (("NOVA", "already"), ("small", "nobody's"), ("nova-mini", "nobody's")):
            with pytest.raises(RateRefusedError, match=words):
                rate_changes.add_alias(model=model, alias=alias, reason="x", actor=vera)

    @pytest.mark.parametrize("alias", ["*", "**", "####", "*-*", "#*"])
    def test_refuses_a_pattern_of_any_name(self, vera: User, alias: str) -> None:
        model = ProviderModelFactory.create(provider="acme", name="nova")
        with pytest.raises(RateRefusedError, match="models of any name"):
            rate_changes.add_alias(model=model, alias=alias, reason="x", actor=vera)
        model.refresh_from_db()
        assert model.aliases == []
