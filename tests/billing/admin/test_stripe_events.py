"""The page of Stripe's events: what arrived, what it is about, and trying again what failed."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from billing.models import EventQueue, EventState, StripeEvent, TopUpRefund
from billing.queries import badges
from billing.services import inbox
from config.roles import Role
from tests.billing.admin.dialogs import address, send, went_through
from tests.billing.factories import a_caller, a_wallet
from tests.billing.selling import a_session, an_intent
from tests.billing.stripe_inbox import NOW, TEST_KEY, arrived, post
from tests.billing.topups import a_paid_topup
from tests.people import a_person, signed_in
from tests.stripe_objects import SECRET, charge, dispute, event, refund

pytestmark = pytest.mark.django_db
LIST = reverse("admin:billing_stripeevent_changelist")


@pytest.fixture(autouse=True)
def _set_up(settings: Any) -> None:
    settings.STRIPE_API_KEY, settings.STRIPE_WEBHOOK_SECRETS = TEST_KEY, [SECRET]
    cache.clear()


@pytest.fixture
def finance() -> Client:
    return signed_in(Role.FINANCE)


def dead(count: int = 1) -> list[StripeEvent]:
    rows = [arrived() for _ in range(count)]
    StripeEvent.objects.filter(pk__in=[row.pk for row in rows]).update(
        state=EventState.DEAD, attempts=20, outcome="ValueError: <b>odd</b> name", last_error="Traceback: <script>"
    )
    return rows


def page_of(row: StripeEvent) -> str:
    return reverse("admin:billing_stripeevent_change", args=(row.pk,))


class TestTheList:
    def test_says_what_came_what_it_did_and_what_it_is_about(self, finance: Client) -> None:
        topup = a_paid_topup(a_wallet(a_caller()), checkout_session="cs_1")
        money_back = TopUpRefund.objects.create(
            topup=topup, stripe_id="re_1", amount_minor=1, state="approved", created_at=NOW, changed_at=NOW
        )
        post(event("checkout.session.completed", a_session(topup, payment_intent=topup.payment_intent)))
        post(event("payment_intent.succeeded", an_intent(topup, id=topup.payment_intent, latest_charge=topup.charge)))
        post(event("charge.updated", charge(id=topup.charge)))
        post(event("refund.created", refund(id="re_1", payment_intent=topup.payment_intent)))
        post(event("charge.dispute.created", dispute(id="dp_unknown", payment_intent="pi_unknown")))
        inbox.work_off(now=NOW)
        page = finance.get(LIST).content.decode()
        assert page.count(f">{topup}<") == 3
        assert f">{money_back}<" in page
        assert "dp_unknown" in page
        for words in ("Done", "Waits, tried before", "was deposited before", "No top-up was paid by pi_unknown"):
            assert words in page, words

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            *(("", 4), ("state__exact=dead", 1), ("state__exact=ignored", 1), ("type=refund.created", 1), ("type=others", 3)),
            *(("origin__exact=sweeper", 0), ("received_at_to=2026-05-03", 0), ("received_at_from=2026-05-04", 4), ("q=ch_sought", 1)),
        ],
    )
    def test_can_be_narrowed_down(self, finance: Client, query: str, count: int) -> None:
        arrived("customer.created")
        inbox.work_off(now=NOW)
        post(event("refund.created", refund()))
        post(event("balance.available", charge(id="ch_sought")))
        dead()
        response = finance.get(f"{LIST}?{query}")
        assert response.status_code == 200
        assert len(response.context["cl"].result_list) == count

    def test_asks_as_much_for_many_events_as_for_few(self, finance: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
        wallet = a_wallet(a_caller())
        for number in range(20):
            topup = a_paid_topup(wallet, checkout_session=f"cs_{number}")
            post(event("checkout.session.completed", a_session(topup)))
            post(event("refund.created", refund(payment_intent=topup.payment_intent, amount=1)))
            inbox.work_off(now=NOW)
        finance.get(LIST)
        with django_assert_max_num_queries(14):
            finance.get(LIST)


class TestAnEvent:
    def test_shows_its_body_and_its_error_as_text(self, finance: Client) -> None:
        [row] = dead()
        page = finance.get(page_of(row)).content.decode()
        assert "&quot;livemode&quot;: false" in page
        assert "Traceback: &lt;script&gt;" in page
        assert "&lt;b&gt;odd&lt;/b&gt;" in page
        assert "Dead letter" in page

    def test_opens_whatever_stripe_may_have_put_in_it(self, finance: Client) -> None:
        deep: Any = []
        for _ in range(100):
            deep = [deep]
        odd = {"a": "NUL \0 </pre><script>alert(1)</script>", "b": 10**400, "c": deep, "e": "\u202e"}
        post(event("charge.updated", charge(metadata=odd)))
        row = StripeEvent.objects.get()
        page = finance.get(page_of(row)).content.decode()
        assert "<script>alert(1)" not in page
        assert json.loads(row.body)["data"]["object"]["metadata"] == odd

    def test_hides_what_buyers_typed_from_who_may_not_see_it(self) -> None:
        row = arrived()
        person = a_person(name="auditor")
        person.user_permissions.add(Permission.objects.get(codename="view_stripeevent"))
        browser = Client()
        browser.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        page = browser.get(page_of(row)).content.decode()
        assert "Hidden: it may hold contact data" in page
        assert "livemode" not in page

    @pytest.mark.parametrize("role", [Role.PRODUCT_MANAGER, Role.SUPPORT, Role.ENGINEER])
    def test_is_finances_business(self, role: Role) -> None:
        row = arrived()
        browser = signed_in(role)
        assert [browser.get(path).status_code for path in (LIST, page_of(row))] == [403, 403]
        assert browser.post(address("billing_stripeevent_retry", row)).status_code == 403
        assert browser.post(address("billing_stripeevent_retry_all")).status_code == 403

    def test_cannot_be_edited(self, finance: Client) -> None:
        row = arrived()
        assert finance.post(page_of(row), {"state": "done"}).status_code == 403


class TestTryingAgain:
    def test_takes_one_dead_letter(self, finance: Client) -> None:
        first, other = dead(2)
        assert went_through(send(finance, "billing_stripeevent_retry", first))
        first.refresh_from_db()
        other.refresh_from_db()
        assert (first.state, first.attempts, first.retried_by) == (EventState.DUE, 0, "user:finance")
        assert other.state == EventState.DEAD

    def test_takes_all_dead_letters(self, finance: Client) -> None:
        dead(3)
        response = send(finance, "billing_stripeevent_retry_all")
        assert went_through(response)
        assert StripeEvent.objects.filter(state=EventState.DUE, retried_by="user:finance").count() == 3

    def test_says_that_what_is_done_is_done(self, finance: Client) -> None:
        row = arrived()
        StripeEvent.objects.filter(pk=row.pk).update(state=EventState.DONE, done_at=NOW)
        response = send(finance, "billing_stripeevent_retry", row)
        assert not went_through(response)
        assert "This event is done" in response.content.decode()

    def test_is_not_open_to_who_may_only_look(self) -> None:
        [row] = dead()
        person = a_person(name="auditor")
        person.user_permissions.add(Permission.objects.get(codename="view_stripeevent"))
        browser = Client()
        browser.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        assert browser.get(page_of(row)).status_code == 200
        assert browser.post(address("billing_stripeevent_retry", row)).status_code == 403
        row.refresh_from_db()
        assert row.state == EventState.DEAD


class TestDeadLetters:
    def test_are_counted_beside_the_link(self, finance: Client) -> None:
        assert badges.dead_stripe_events() == ""
        dead(2)
        cache.clear()
        assert badges.dead_stripe_events() == "2"
        assert "Events of Stripe&#x27;s that failed too often: 2" in finance.get(LIST).content.decode()

    def test_and_what_waits_are_metrics(self) -> None:
        dead(2)
        again = arrived()
        StripeEvent.objects.filter(pk=again.pk).update(attempts=3, queue=EventQueue.STRIPE)
        arrived(now=timezone.now() - timedelta(seconds=90))
        lines = Client().get("/metrics").content.decode().splitlines()
        figures = dict(line.rsplit(" ", 1) for line in lines if line.startswith("meterdesk_stripe"))
        assert 90 <= float(figures.pop('meterdesk_stripe_inbox_age_seconds{queue="deposits"}')) < 120
        assert figures.pop('meterdesk_stripe_inbox_age_seconds{queue="stripe"}') == "0.0"
        assert figures == {
            f'meterdesk_stripe_inbox_events{{queue="{queue}",state="{state}"}}': count
            for queue, state, count in [
                *(("deposits", "new", "1.0"), ("deposits", "again", "0.0"), ("deposits", "dead", "2.0")),
                *(("stripe", "new", "0.0"), ("stripe", "again", "1.0"), ("stripe", "dead", "0.0")),
            ]
        }
