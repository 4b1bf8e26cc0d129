"""Holds in the admin: an operator may give an open one back."""

import pytest
from django.test import Client
from django.utils import timezone

from billing.models import Hold, HoldStatus, Operation, Wallet
from billing.services import holds
from billing.services.idempotency import Call
from config.roles import Role
from tests.billing.admin.dialogs import address, send, went_through
from tests.billing.factories import a_caller, a_price, a_wallet
from tests.people import signed_in

pytestmark = pytest.mark.django_db

ACTION = "billing_hold_release_hold"


@pytest.fixture
def hold() -> Hold:
    caller = a_caller()
    a_price("4")
    wallet = a_wallet(caller, credits="100")
    call = Call(caller.project_id, "hold", Operation.HOLD, b"0" * 16)
    facts = {"event": "chat.reply", "quantity": None, "credits": 40, "expires_in": 60}
    return holds.place(caller=caller, customer=wallet.customer, now=timezone.now(), call=call, **facts).hold  # type: ignore[arg-type]


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


def test_release_frees_the_credits(hold: Hold, finance: Client) -> None:
    assert went_through(send(finance, ACTION, hold))
    assert Wallet.objects.get().held == 0
    assert Hold.objects.get().status == HoldStatus.RELEASED


def test_release_of_a_captured_hold_is_refused_with_words(hold: Hold, finance: Client) -> None:
    now = timezone.now()
    Hold.objects.update(status=HoldStatus.CAPTURED, ended_at=now, usage_record_id=1, captured_credits=1)
    assert "Refund the event instead" in send(finance, ACTION, hold).content.decode()


def test_release_is_for_who_may(hold: Hold) -> None:
    assert signed_in(Role.SUPPORT).post(address(ACTION, hold)).status_code == 403
    assert Hold.objects.get().status == HoldStatus.OPEN
