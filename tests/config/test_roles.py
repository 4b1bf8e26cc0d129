from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from config import roles
from config.roles import PERMISSIONS, Role
from tests import desk, people

pytestmark = pytest.mark.django_db

FINANCE, PRODUCT, SUPPORT, ENGINEER, ADMINISTRATOR = Role
EVERYBODY = set(Role)
MONEY = EVERYBODY - {ENGINEER}
OWNERS = EVERYBODY - {SUPPORT}
PRICERS = {FINANCE, PRODUCT, ADMINISTRATOR}

# Who may look at what. Whoever is not named gets 403 on every page of the model.
MAY_VIEW = {
    "billing.alert": EVERYBODY,
    "billing.alertchannel": PRICERS,
    "billing.launch": EVERYBODY,
    "billing.customer": MONEY,
    "billing.wallet": MONEY,
    "billing.autotopup": MONEY,
    "billing.lot": MONEY,
    "billing.hold": MONEY,
    "billing.ledgerentry": MONEY,
    "billing.movementrequest": MONEY,
    "billing.payment": {FINANCE, SUPPORT, ADMINISTRATOR},
    "billing.topup": MONEY,
    "billing.topuprefund": {FINANCE, SUPPORT, ADMINISTRATOR},
    "billing.dispute": {FINANCE, SUPPORT, ADMINISTRATOR},
    "billing.creditpack": PRICERS,
    "billing.seal": {FINANCE, ADMINISTRATOR},
    "billing.stripeevent": {FINANCE, ADMINISTRATOR},
    "billing.payout": {FINANCE, ADMINISTRATOR},
    "billing.balancetransaction": {FINANCE, ADMINISTRATOR},
    "billing.platformfee": {FINANCE, ADMINISTRATOR},
    "reports.reconciliationbreak": {FINANCE, ADMINISTRATOR},
    "billing.checkrun": {FINANCE, ADMINISTRATOR},
    "billing.usagerecord": EVERYBODY,
    "billing.unpricedgroup": PRICERS,
    "billing.rerating": PRICERS,
    "billing.pipelinerun": EVERYBODY,
    "billing.agentjob": EVERYBODY,
    "billing.project": EVERYBODY,
    "billing.team": OWNERS,
    "billing.costcenter": OWNERS,
    "billing.apikey": {ENGINEER, ADMINISTRATOR},
    "billing.budget": EVERYBODY,
    "billing.budgetexception": EVERYBODY,
    "pricing.eventtype": EVERYBODY,
    "pricing.pricerule": MONEY,
    "pricing.priceversion": MONEY,
    "pricing.proposal": MONEY,
    "pricing.providermodel": OWNERS,
    "pricing.rateseries": PRICERS,
    "pricing.providerrate": PRICERS,
    "pricing.rateimport": PRICERS,
    "pricing.ratechange": PRICERS,
    "pricing.workspace": PRICERS,
    "auth.user": {ADMINISTRATOR},
    "auth.group": {ADMINISTRATOR},
    "axes.accessattempt": {ADMINISTRATOR},
    "django_celery_beat.periodictask": {ADMINISTRATOR},
}
MAY_ADD = {
    "billing.alertchannel": PRICERS,
    "billing.launch": {PRODUCT, ADMINISTRATOR},
    "billing.creditpack": {FINANCE, ADMINISTRATOR},
    "billing.project": {FINANCE, ENGINEER, ADMINISTRATOR},
    "billing.team": {FINANCE, ENGINEER, ADMINISTRATOR},
    "billing.costcenter": {FINANCE, ENGINEER, ADMINISTRATOR},
    "pricing.eventtype": PRICERS,
    "pricing.pricerule": PRICERS,
    "auth.user": {ADMINISTRATOR},
    "auth.group": {ADMINISTRATOR},
}
MAY_CHANGE = {
    "billing.alertchannel": PRICERS,
    "billing.launch": {PRODUCT, ADMINISTRATOR},
    "billing.creditpack": {FINANCE, ADMINISTRATOR},
    "billing.project": {FINANCE, ENGINEER, ADMINISTRATOR},
    "billing.team": {FINANCE, ENGINEER, ADMINISTRATOR},
    "billing.costcenter": {FINANCE, ENGINEER, ADMINISTRATOR},
    "pricing.eventtype": PRICERS,
    "pricing.workspace": PRICERS,
    "auth.user": {ADMINISTRATOR},
    "auth.group": {ADMINISTRATOR},
    "django_celery_beat.periodictask": {ADMINISTRATOR},
}
# The history of a customer shows e-mail addresses and metadata as they were.
MAY_VIEW_HISTORY = {"billing.customer": MONEY - {SUPPORT}}
MAY_DELETE = {"auth.group": {ADMINISTRATOR}, "axes.accessattempt": {ADMINISTRATOR}}
LEDGER = (
    "ledgerentry",
    "usagerecord",
    "seal",
    "lot",
    "payment",
    "topup",
    "topuprefund",
    "dispute",
    "payout",
    "balancetransaction",
    "platformfee",
    "wallet",
    "hold",
    "checkrun",
    "idempotencykey",
)


@pytest.fixture(autouse=True)
def _no_kept_badges() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


class TestRoles:
    def test_are_there_after_migrate(self) -> None:
        for role in Role:
            group = Group.objects.get(name=role.value)
            held = {f"{app}.{name}" for app, name in group.permissions.values_list("content_type__app_label", "codename")}
            assert held == PERMISSIONS[role]

    def test_nobody_may_edit_the_ledger(self) -> None:
        forbidden = {f"billing.{action}_{model}" for action in ("add", "change", "delete") for model in LEDGER}
        for names in PERMISSIONS.values():
            assert not names & forbidden

    def test_support_only_looks_and_sees_no_contacts(self) -> None:
        assert all(name.partition(".")[2].startswith("view_") for name in PERMISSIONS[SUPPORT])
        assert "billing.view_contact_data" not in PERMISSIONS[SUPPORT]

    def test_an_engineer_moves_no_money_and_sees_none(self) -> None:
        money = {"wallet", "lot", "ledgerentry", "payment", "customer", "hold", "priceversion", "providerrate"}
        assert not any(name.endswith(f"_{model}") for name in PERMISSIONS[ENGINEER] for model in money)
        assert not PERMISSIONS[ENGINEER] & roles._MOVE_MONEY

    def test_a_release_takes_back_what_was_added_by_hand(self) -> None:
        group = Group.objects.get(name=SUPPORT)
        group.permissions.set(Permission.objects.filter(codename="grant_credits"))
        roles.keep_in_step()
        held = set(group.permissions.values_list("codename", flat=True))
        assert "grant_credits" not in held
        assert "view_customer" in held


class TestPages:
    """Every registered page for every role, asked for by its address: hidden links protect nothing."""

    @pytest.fixture
    def rows(self) -> dict[str, int]:
        return desk.everything()

    def test_the_tables_name_every_page(self) -> None:
        assert set(MAY_VIEW) == {model._meta.label_lower for model in admin.site._registry}

    @pytest.mark.parametrize("role", Role)
    def test_open_to_whom_they_belong(self, role: Role, rows: dict[str, int]) -> None:
        client = people.signed_in(role)
        wrong = [
            f"{method} {address}: {status}, not {expected}"
            for model, key in rows.items()
            for method, address, expected in _expectations(model, key, role)
            if (status := _status(client, method, address)) != expected
        ]
        assert wrong == []

    @pytest.mark.parametrize("role", Role)
    def test_a_price_is_published_by_those_who_price(self, role: Role, rows: dict[str, int]) -> None:
        address = reverse("admin:pricing_pricerule_publish", args=[rows["pricing.pricerule"]])
        expected = 200 if role in PRICERS else 403
        client = people.signed_in(role)
        assert (client.get(address).status_code, client.post(address, {}).status_code) == (expected, expected)

    def test_send_strangers_to_the_door(self, rows: dict[str, int], client: Client) -> None:
        for model in rows:
            address = reverse(f"admin:{model.replace('.', '_')}_changelist")
            assert client.get(address).headers["Location"].startswith("/admin/login/")


def _expectations(model: str, key: int, role: Role) -> Iterator[tuple[str, str, int]]:
    page = f"admin:{model.replace('.', '_')}_"
    views, adds, changes, deletes = (role in table.get(model, ()) for table in (MAY_VIEW, MAY_ADD, MAY_CHANGE, MAY_DELETE))
    yield "get", reverse(page + "changelist"), 200 if views else 403
    yield "get", reverse(page + "add"), 200 if adds else 403
    yield "post", reverse(page + "add"), 200 if adds else 403
    yield "get", reverse(page + "change", args=[key]), 200 if views else 403
    yield "post", reverse(page + "change", args=[key]), 200 if changes else 403
    yield "get", reverse(page + "history", args=[key]), 200 if role in MAY_VIEW_HISTORY.get(model, MAY_VIEW[model]) else 403
    yield "get", reverse(page + "delete", args=[key]), 200 if deletes else 403
    yield "post", reverse(page + "delete", args=[key]), 200 if deletes else 403


def _status(client: Client, method: str, address: str) -> int:
    """An empty form is sent: whoever may send one gets it back with its errors."""
    response = client.get(address, follow=True) if method == "get" else client.post(address, {})
    return response.status_code


class TestUsers:
    def test_only_a_superuser_touches_a_superuser(self) -> None:
        root = User.objects.create_superuser("root")
        client = people.signed_in(ADMINISTRATOR)
        assert client.post(reverse("admin:auth_user_change", args=[root.pk]), {"username": "taken"}).status_code == 403
        assert client.get(reverse("admin:auth_user_password_change", args=[root.pk])).status_code == 403
        root.refresh_from_db()
        assert root.username == "root"

    def test_an_administrator_cannot_make_one(self) -> None:
        client = people.signed_in(ADMINISTRATOR)
        somebody = people.a_person(name="somebody")
        form = {"username": "somebody", "is_active": "on", "is_staff": "on", "is_superuser": "on", "groups": []}
        client.post(reverse("admin:auth_user_change", args=[somebody.pk]), form)
        somebody.refresh_from_db()
        assert (somebody.is_staff, somebody.is_superuser) == (True, False)

    def test_an_administrator_gives_a_role(self) -> None:
        client = people.signed_in(ADMINISTRATOR)
        somebody = people.a_person(name="somebody")
        finance = Group.objects.get(name=FINANCE)
        form = {"username": "somebody", "is_active": "on", "is_staff": "on", "groups": [finance.pk]}
        assert client.post(reverse("admin:auth_user_change", args=[somebody.pk]), form).status_code == 302
        assert list(User.objects.get(pk=somebody.pk).groups.all()) == [finance]

    def test_a_role_is_not_edited_by_hand(self) -> None:
        client = people.signed_in(ADMINISTRATOR)
        support = Group.objects.get(name=SUPPORT)
        assert client.post(reverse("admin:auth_group_change", args=[support.pk]), {"name": "Mine"}).status_code == 403
        assert client.post(reverse("admin:auth_group_delete", args=[support.pk]), {"post": "yes"}).status_code == 403

    def test_a_group_of_their_own_cannot_hold_what_nobody_may_do(self) -> None:
        client = people.signed_in(ADMINISTRATOR)
        edit = Permission.objects.get(codename="change_ledgerentry")
        view = Permission.objects.get(codename="view_ledgerentry")
        address = reverse("admin:auth_group_add")
        assert client.post(address, {"name": "Auditors", "permissions": [edit.pk]}).status_code == 200
        assert not Group.objects.filter(name="Auditors").exists()
        assert client.post(address, {"name": "Auditors", "permissions": [view.pk]}).status_code == 302
