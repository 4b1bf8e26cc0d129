"""What PostgreSQL itself refuses about imports and their lines."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, connection, transaction

from pricing.models import RateChange
from tests.pricing.factories import LAST_YEAR, NOW, ProviderRateFactory, RateChangeFactory, RateImportFactory

pytestmark = pytest.mark.django_db

GUARDED = [{"guard": "jump", "sentence": "Look."}]


def run(sql: str, *params: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, params)


def decide(change: RateChange, **decision: Any) -> None:
    with transaction.atomic():
        RateChange.objects.filter(pk=change.pk).update(**{"decided_at": NOW} | decision)


class TestKept:
    def test_an_import_never_changes(self) -> None:
        made = RateImportFactory.create()
        for sql in ("UPDATE pricing_rateimport SET source = 'x'", "DELETE FROM pricing_rateimport"):
            with pytest.raises(DatabaseError, match="append_only"):
                run(f"{sql} WHERE id = %s", made.pk)

    @pytest.mark.parametrize("change", ["price = 5", "guards = '[]'", "effective_from = now()", "aliases = '{x}'", "kind = 'new'"])
    def test_what_a_feed_said_never_changes(self, change: str) -> None:
        line = RateChangeFactory.create(kind="changed", guards=GUARDED)
        with pytest.raises(IntegrityError, match="What a feed said stays as it is"):
            run(f"UPDATE pricing_ratechange SET {change} WHERE id = %s", line.pk)

    def test_a_line_is_never_deleted(self) -> None:
        line = RateChangeFactory.create()
        with pytest.raises(DatabaseError, match="is_kept"):
            run("DELETE FROM pricing_ratechange WHERE id = %s", line.pk)

    @pytest.mark.parametrize("state", ["accepted", "rejected", "superseded"])
    def test_a_decided_line_stays(self, state: str) -> None:
        line = RateChangeFactory.create()
        actor = User.objects.create(username="ann")
        rate = ProviderRateFactory.create() if state == "accepted" else None
        decide(line, state=state, rate=rate, decided_by=actor, decision_reason="Yes")
        with pytest.raises(IntegrityError, match="decided stays as it is"):
            decide(line, decision_reason="No")

    @pytest.mark.parametrize("table", ["pricing_rateimport", "pricing_ratechange"])
    def test_tables_are_never_emptied(self, table: str) -> None:
        run("SET meterdesk.may_truncate = 'off'")
        with pytest.raises(DatabaseError, match="kept for good"):
            run(f"TRUNCATE {table} CASCADE")
        run("SET meterdesk.may_truncate = 'on'")


class TestDecisions:
    def refused(self, line: RateChange, constraint: str, **decision: Any) -> None:
        with pytest.raises(IntegrityError, match=constraint):
            decide(line, **decision)

    def test_an_accepted_line_names_its_rate(self) -> None:
        line = RateChangeFactory.create()
        self.refused(line, "accepted_names_its_rate", state="accepted")
        self.refused(line, "accepted_names_its_rate", state="superseded", rate=ProviderRateFactory.create())
        decide(line, state="accepted", rate=ProviderRateFactory.create())

    def test_names_alone_have_none(self) -> None:
        line = RateChangeFactory.create(kind="alias", unit_kind="", price=None, per=None, currency="", aliases=["x"])
        self.refused(line, "accepted_names_its_rate", state="accepted", rate=ProviderRateFactory.create())
        decide(line, state="accepted")

    def test_a_rejected_line_says_who_and_why(self) -> None:
        line, actor = RateChangeFactory.create(), User.objects.create(username="ann")
        self.refused(line, "rejected_by_a_person_with_a_reason", state="rejected", decision_reason="No")
        self.refused(line, "rejected_by_a_person_with_a_reason", state="rejected", decided_by=actor)
        decide(line, state="rejected", decided_by=actor, decision_reason="No")

    def test_a_guard_is_passed_by_a_person_with_a_reason(self) -> None:
        line, actor, rate = RateChangeFactory.create(guards=GUARDED), User.objects.create(username="ann"), ProviderRateFactory.create()
        self.refused(line, "guard_passed_by_a_person", state="accepted", rate=rate)
        self.refused(line, "guard_passed_by_a_person", state="accepted", rate=rate, decision_reason="Yes")
        self.refused(line, "guard_passed_by_a_person", state="accepted", rate=rate, decided_by=actor)
        decide(line, state="accepted", rate=rate, decided_by=actor, decision_reason="The page says so")

    def test_a_decision_has_a_time(self) -> None:
        line = RateChangeFactory.create()
        self.refused(line, "decision_has_a_time", state="superseded", decided_at=None)
        self.refused(line, "decision_has_a_time")


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"kind": "maybe"}, "rate_change_kind_known"),
        ({"state": "open", "decided_at": NOW}, "rate_change_state_known"),
        ({"unit_kind": ""}, "rate_change_names_a_unit"),
        ({"unit_kind": "tokens"}, "rate_change_names_a_unit"),
        ({"kind": "alias"}, "rate_change_names_a_unit"),
        ({"price": None, "per": None}, "rate_change_states_a_price"),
        ({"price": -1}, "rate_change_states_a_price"),
        ({"currency": "usd"}, "rate_change_states_a_price"),
        ({"kind": "ended"}, "rate_change_states_a_price"),
        ({"effective_from": NOW, "effective_to": LAST_YEAR}, "rate_change_ends_after_start"),
        ({"rate_import__source": ""}, "rate_import_has_a_source"),
        ({"rate_import__sha256": "x"}, "rate_import_has_a_fingerprint"),
    ],
)
def test_refuses_what_makes_no_line(change: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        RateChangeFactory.create(**change)


def test_a_difference_waits_once() -> None:
    line = RateChangeFactory.create()
    with pytest.raises(IntegrityError, match="rate_change_waits_once"), transaction.atomic():
        RateChangeFactory.create(rate_import=line.rate_import, provider=line.provider, model=line.model)
    decide(line, state="superseded")
    RateChangeFactory.create(rate_import=line.rate_import, provider=line.provider, model=line.model)


def test_a_release_is_imported_once() -> None:
    made = RateImportFactory.create()
    with pytest.raises(IntegrityError, match="rate_import_is_one"), transaction.atomic():
        RateImportFactory.create(sha256=made.sha256)
    RateImportFactory.create(sha256=made.sha256, providers=["anthropic"])
    RateImportFactory.create(sha256=made.sha256, again_of=made)
    with pytest.raises(IntegrityError, match="rate_import_keeps_a_release_once"), transaction.atomic():
        RateImportFactory.create(sha256=made.sha256, again_of=made, release=b"x")
