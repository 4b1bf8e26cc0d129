"""The inbox: what waits comes first, is seen to by who may, one by one or many at once, and messages are sent again."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from billing.models import Alert, AlertDelivery, Launch
from config.roles import Role
from tests.billing.admin.dialogs import HTMX, address, send, went_through
from tests.billing.alerting import a_delivery, an_alert, of_a_spike
from tests.billing.budgeting import a_budget
from tests.billing.factories import ProjectFactory, TeamFactory, a_caller, a_wallet
from tests.people import a_person, signed_in

pytestmark = pytest.mark.django_db
LIST = reverse("admin:billing_alert_changelist")
SPIKES = reverse("admin:billing_spikes")
MANY: dict[str, Any] = {"index": 0, "select_across": 0}


@pytest.fixture
def finance() -> Client:
    return signed_in(Role.FINANCE)


def page_of(row: Model) -> str:
    return reverse("admin:billing_alert_change", args=(row.pk,))


def rows(browser: Client, query: str = "") -> list[Alert]:
    return list(browser.get(LIST + query).context["cl"].result_list)


def low(**fields: Any) -> Alert:
    return an_alert("wallet_low", wallet=a_wallet(a_caller()), **fields)


def see_to(browser: Client, action: str, *alerts: Alert, note: str = "") -> str:
    sent = browser.post(LIST, MANY | {"action": action, "note": note, "_selected_action": [one.pk for one in alerts]}, follow=True)
    assert sent.status_code == 200
    return sent.content.decode()


class TestTheInbox:
    def test_is_empty_in_words(self, finance: Client) -> None:
        assert "Nothing waits for you" in finance.get(LIST).content.decode()

    def test_says_what_happened_and_what_one_can_do(self, finance: Client) -> None:
        alert = low()
        a_delivery(alert, "sent")
        a_delivery(alert, "expired")
        page = finance.get(LIST).content.decode()
        for words in ("The wallet of user_42", "has 3 credits available", "Send the customer a top-up link", "1 given up, 1 arrived"):
            assert words in page
        assert reverse("admin:billing_customer_change", args=(alert.wallet.customer_id,)) in page  # type: ignore[union-attr]

    def test_has_what_waits_first_and_leaves_out_what_is_over(self, finance: Client) -> None:
        now = timezone.now()
        seen = an_alert(state="acknowledged", acknowledged_by=a_person(name="ann"), acknowledged_at=now, raised_at=now)
        old, new = an_alert(raised_at=now - timedelta(days=2)), an_alert(raised_at=now - timedelta(days=1))
        over = an_alert(state="resolved", resolved_at=now)
        assert rows(finance) == [new, old, seen]
        assert rows(finance, "?state=resolved") == [over]
        assert rows(finance, "?state=acknowledged") == [seen]
        assert len(rows(finance, "?state=every")) == 4

    def test_is_narrowed_by_kind_project_owner_and_what_did_not_arrive(self, finance: Client) -> None:
        ann = a_person(name="ann")
        ours = ProjectFactory.create(team=TeamFactory.create(budget_owner=ann))
        spike, other = an_alert(project=ours), low()
        budget = a_budget(owner=ann)
        terms: dict[str, Any] = {
            "kind": "threshold",
            "budget": budget,
            "window_starts_at": timezone.now(),
            "threshold": 80,
            "facts": _THRESHOLD,
        }
        mine = an_alert(**terms)
        a_delivery(other, "expired")
        assert rows(finance, "?kind__exact=wallet_low") == [other]
        assert rows(finance, f"?project__id__exact={ours.pk}") == [spike]
        assert set(rows(finance, f"?owner={ann.pk}")) == {spike, mine}
        assert rows(finance, "?state=dead") == [other]
        assert finance.get(LIST + "?owner=x").status_code == 302

    def test_asks_the_same_number_of_questions_for_many(
        self, finance: Client, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(20):
            a_delivery(an_alert("wallet_low", wallet=a_wallet(a_caller(), f"user_{number}")))
        finance.get(LIST)
        with django_assert_max_num_queries(16):
            finance.get(LIST)

    def test_shows_an_engineer_no_wallets(self) -> None:
        spike, wallet = an_alert(), low()
        engineer = signed_in(Role.ENGINEER)
        assert rows(engineer) == [spike]
        assert engineer.get(page_of(wallet)).status_code == 302
        assert engineer.get(page_of(spike)).status_code == 200


_THRESHOLD = {
    "budget": "Chat", "measure": "credits", "currency": "USD", "spent": "80", "limit": "100", "percent": "80.0", "threshold": 80,
    "is_over": False, "action": "block", "target": "",
    "window": {"kind": "day", "from": "2026-11-20T00:00:00+00:00", "zone": "UTC"},
}  # fmt: skip


class TestManyAtOnce:
    def test_are_acknowledged_with_one_note(self, finance: Client) -> None:
        alerts = [low(), an_alert(), an_alert()]
        page = see_to(finance, "acknowledge_chosen", *alerts[:2], note=" The provider is down. ")
        assert "2 alerts are acknowledged." in page
        found = Alert.objects.order_by("pk")
        assert [(one.state, one.note) for one in found] == [("acknowledged", "The provider is down.")] * 2 + [("open", "")]
        assert Alert.objects.filter(acknowledged_by__username="finance").count() == 2

    def test_are_resolved(self, finance: Client) -> None:
        alerts = [an_alert(), an_alert()]
        assert "2 alerts are resolved." in see_to(finance, "resolve_chosen", *alerts)
        assert set(Alert.objects.values_list("state", "resolved_by__username")) == {("resolved", "finance")}

    def test_sent_twice_change_nothing_more(self, finance: Client) -> None:
        alert = an_alert()
        see_to(finance, "acknowledge_chosen", alert, note="first")
        page = see_to(finance, "acknowledge_chosen", alert, note="second")
        assert "1 of the chosen stayed as they are" in page
        assert Alert.objects.get().note == "first"

    def test_are_spikes_alone_for_an_engineer(self) -> None:
        spike = an_alert()
        budget = {"budget": a_budget(), "window_starts_at": timezone.now(), "threshold": 80, "facts": _THRESHOLD}
        mark = an_alert("threshold", **budget)
        page = see_to(signed_in(Role.ENGINEER), "acknowledge_chosen", spike, mark)
        assert "1 alert is acknowledged." in page
        assert "1 of the chosen stayed as they are" in page
        mark.refresh_from_db()
        assert mark.state == "open"

    def test_are_nothing_for_support(self) -> None:
        alert = an_alert()
        support = signed_in(Role.SUPPORT)
        assert "_selected_action" not in support.get(LIST).content.decode()
        for action in ("acknowledge_chosen", "resolve_chosen", "delete_selected"):
            assert support.post(LIST, MANY | {"action": action, "_selected_action": alert.pk}).status_code == 403
        assert Alert.objects.get().state == "open"

    def test_are_never_deleted(self, finance: Client) -> None:
        alert = an_alert()
        finance.post(LIST, MANY | {"action": "delete_selected", "_selected_action": alert.pk, "post": "yes"})
        assert Alert.objects.count() == 1

    def test_may_have_any_note(self, finance: Client) -> None:
        for note in ("x" * 5_000, "a\0b", "<script>", "\ud800".encode("utf-8", "replace").decode()):
            see_to(finance, "acknowledge_chosen", an_alert(), note=note)
        assert "<script>" not in finance.get(LIST).content.decode().partition("result_list")[2].partition("</table>")[0]


class TestOneAlert:
    def test_shows_who_was_told_and_no_secret_of_an_address(self, finance: Client) -> None:
        alert = an_alert()
        a_delivery(alert, "expired", kind="slack", address="https://hooks.example.com/T1/s3cret", last_error="answered 410", attempts=12)
        page = finance.get(page_of(alert)).content.decode()
        for words in ("https://hooks.example.com", "Given up", "answered 410", "was used 2,400 times", "2.4 times"):
            assert words in page
        assert "s3cret" not in page

    def test_is_acknowledged_and_resolved(self, finance: Client) -> None:
        alert = an_alert()
        assert went_through(send(finance, "billing_alert_acknowledge", alert, note="We look into it"))
        assert "We look into it" in finance.get(page_of(alert)).content.decode()
        assert went_through(send(finance, "billing_alert_resolve", alert))
        alert.refresh_from_db()
        assert (alert.state, alert.note) == ("resolved", "We look into it")
        assert "Nothing: it is over." in finance.get(page_of(alert)).content.decode()

    def test_of_another_kind_is_not_for_an_engineer(self) -> None:
        budget = {"budget": a_budget(), "window_starts_at": timezone.now(), "threshold": 80, "facts": _THRESHOLD}
        mark, spike = an_alert("threshold", **budget), an_alert()
        engineer, support = signed_in(Role.ENGINEER), signed_in(Role.SUPPORT)
        assert engineer.post(address("billing_alert_acknowledge", mark), {"note": "x"}, headers=HTMX).status_code == 403
        assert engineer.post(address("billing_alert_resolve", mark), {}, headers=HTMX).status_code == 403
        assert support.post(address("billing_alert_acknowledge", spike), {"note": "x"}, headers=HTMX).status_code == 403
        assert went_through(send(engineer, "billing_alert_acknowledge", spike))

    def test_stays_while_what_it_tells_of_holds(self, finance: Client) -> None:
        wallet = a_wallet(a_caller(), credits="5")
        type(wallet).objects.filter(pk=wallet.pk).update(low_balance_threshold=10)
        alert = an_alert("wallet_low", wallet=wallet)
        send(finance, "billing_alert_resolve", alert)
        alert.refresh_from_db()
        assert alert.state == "open"
        assert "still holds" in finance.get(page_of(alert)).content.decode()

    def test_has_its_dead_letters_sent_again(self, finance: Client) -> None:
        alert, other = an_alert(), an_alert()
        for one in (alert, other):
            a_delivery(one, "expired", attempts=12)
        a_delivery(alert, "sent")
        assert went_through(send(finance, "billing_alert_retry", alert))
        assert sorted(AlertDelivery.objects.filter(alert=alert).values_list("outcome", flat=True)) == ["due", "sent"]
        assert AlertDelivery.objects.get(alert=other).outcome == "expired"
        assert went_through(send(finance, "billing_alert_retry_all"))
        assert AlertDelivery.objects.filter(outcome="expired").count() == 0
        assert signed_in(Role.ENGINEER).post(address("billing_alert_retry", alert), {}, headers=HTMX).status_code == 403

    def test_takes_no_form(self, finance: Client) -> None:
        alert = an_alert()
        assert finance.post(page_of(alert), {"state": "resolved"}).status_code == 403
        assert finance.get(LIST + "add/").status_code == 403


class TestSpikes:
    def test_are_none_in_words(self, finance: Client) -> None:
        page = finance.get(SPIKES).content.decode()
        assert "Nothing doubled in the last 7 days" in page
        assert "No launch is in the calendar" in page

    def test_are_shown_with_what_they_are_and_why(self) -> None:
        project = ProjectFactory.create(name="Support bot")
        facts = of_a_spike(project, retries=2400, customers=100)
        an_alert(project=project, facts=facts)
        page = signed_in(Role.ENGINEER).get(SPIKES).content.decode()
        for words in ("chat.reply, Support bot", "Retry loop", "Of 100 events there are 100 retries", "2,400", ">new<"):
            assert words in page
        assert "A product manager can enter one" in page

    def test_of_this_week_stay_when_they_are_over(self, finance: Client) -> None:
        now = timezone.now()
        lately = an_alert(state="resolved", resolved_at=now, raised_at=now - timedelta(days=6))
        an_alert(state="resolved", resolved_at=now, raised_at=now - timedelta(days=8))
        lasting = an_alert(raised_at=now - timedelta(days=30))
        assert [spike["alert"] for spike in finance.get(SPIKES).context["spikes"]] == [lasting, lately]

    def test_lead_to_a_launch_that_explains_them(self) -> None:
        alert = an_alert(project=ProjectFactory.create(name="Bot & co"))
        product = signed_in(Role.PRODUCT_MANAGER)
        [spike] = product.get(SPIKES).context["spikes"]
        form = product.get(spike["plan"].partition('href="')[2].partition('"')[0].replace("&amp;", "&"))
        given = form.context["adminform"].form.initial
        assert (given["name"], given["project"]) == ("chat.reply of Bot & co", str(alert.project_id))
        fields = {name: given.get(name, "") for name in ("name", "project", "event_type", "environment", "starts_at", "ends_at")}
        sent = product.post(reverse("admin:billing_launch_add"), fields | {"kind": "launch"}, follow=True)
        assert "It explains 1 spike, which is resolved." in sent.content.decode()
        alert.refresh_from_db()
        assert (alert.state, alert.resolved_by) == ("resolved", None)
        [spike] = product.get(SPIKES).context["spikes"]
        assert "Explained by chat.reply of Bot &amp; co" in spike["plan"]
        assert "Launch" in spike["cause"]
        assert Launch.objects.get().environment == "production"

    def test_take_no_form_and_let_nobody_in_without_a_role(self, finance: Client) -> None:
        assert finance.post(SPIKES).status_code == 403
        assert signed_in().get(SPIKES).status_code == 403
