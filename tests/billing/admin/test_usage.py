"""Usage records in the admin: every field group of the source documents, and the refund."""

import pytest
from django.test import Client
from django.urls import reverse

from billing.events import Charged
from billing.models import LedgerEntry, UsageRecord, Wallet
from billing.services import charging
from config.roles import Role
from pricing.units import Usage
from tests.billing.admin.dialogs import address, send, went_through
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.people import signed_in

pytestmark = pytest.mark.django_db

GROUPS = (
    "Time",
    "Request identity",
    "Ownership",
    "Environment and workflow",
    "Model and endpoint",
    "Token metrics",
    "Request metrics",
    "Reliability",
    "Cost",
    "Quota and budget",
    "Recharge and approval",
    "Privacy and retention",
)


@pytest.fixture
def record() -> UsageRecord:
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="100")
    usage = Usage("acme", "m-1", input_tokens=12345, output_tokens=67, cache_write_tokens=4567, cache_write_1h_tokens=3456)
    [result] = charging.charge([an_event(caller, usage=usage, request_id="req_mine")], now=NOW)
    assert isinstance(result, Charged)
    return UsageRecord.objects.get(pk=result.record_id)


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


class TestRecord:
    def test_shows_the_field_groups_of_the_dictionary(self, finance: Client, record: UsageRecord) -> None:
        page = finance.get(reverse("admin:billing_usagerecord_change", args=(record.pk,))).content.decode()
        places = [
            page.index(f">\n                    {group}") if f">\n                    {group}" in page else page.find(group)
            for group in GROUPS
        ]
        assert all(place > 0 for place in places)
        for words in ("12,345", f"evt_{record.pk}", "chat.reply/default v1", "Unpriced", "never stored"):
            assert words in page
        for words in ("Cache write tokens", "4,567", "Of these kept for an hour", "3,456"):
            assert words in page

    def test_is_found_by_its_ids(self, finance: Client, record: UsageRecord) -> None:
        where = reverse("admin:billing_usagerecord_changelist")
        for text in (f"evt_{record.pk}", str(record.pk)):
            assert f"/usagerecord/{record.pk}/change/" in finance.get(where, {"q": text}).content.decode()
        by_request = {"q": "req_mine", "occurred_at_from": "2026-11-01"}
        assert f"/usagerecord/{record.pk}/change/" in finance.get(where, by_request).content.decode()
        assert f"/usagerecord/{record.pk}/change/" not in finance.get(where, {"q": "evt_1"}).content.decode()


class TestRefund:
    ACTION = "billing_usagerecord_refund_charge"

    def test_gives_back_all_that_is_left_once(self, finance: Client, record: UsageRecord) -> None:
        assert went_through(send(finance, self.ACTION, record, credits="1.5", reason="Slow"))
        assert went_through(send(finance, self.ACTION, record, credits="", reason="Cut off"))
        assert Wallet.objects.get().balance == 100
        again = send(finance, self.ACTION, record, credits="", reason="x").content.decode()
        assert "0 credits of this charge have not been refunded yet" in again
        entry = LedgerEntry.objects.filter(kind="refund").latest("pk")
        assert (entry.actor, entry.reason) == ("user:finance", "Cut off")

    def test_never_gives_back_more_than_the_charge(self, finance: Client, record: UsageRecord) -> None:
        assert "Refund at most that" in send(finance, self.ACTION, record, credits="4.000001", reason="x").content.decode()
        assert Wallet.objects.get().balance == 96

    @pytest.mark.parametrize("role", [Role.SUPPORT, Role.ENGINEER, Role.PRODUCT_MANAGER])
    def test_is_for_who_moves_money(self, record: UsageRecord, role: Role) -> None:
        assert signed_in(role).post(address(self.ACTION, record), {"reason": "x"}).status_code == 403
        assert not LedgerEntry.objects.filter(kind="refund").exists()
