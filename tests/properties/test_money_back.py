"""Money that goes back, in any order of everything else that happens to a wallet: the books agree, and what returns is exact.

Each run draws what happens to one customer with several top-ups of different worth: buying, spending, holding, expiring,
charges refunded, transfers, part of a payment refunded, refunds that fail, disputes that are opened, won, lost. After each step the
credits withdrawn of a payment are what its money stands for; at the end everything that can return does, and no trace of
it is left in the wallet.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billing.errors import InsufficientCredits, RefundExceedsCharge, WalletFrozen
from billing.events import Caller, Capture, Charged, Overage, Refused
from billing.models import DisputeState, EntryKind, Hold, LedgerEntry, Lot, LotKind, Operation, TopUp, Wallet, WalletStatus
from billing.services import charging, checking, disputes, holds, ledger, money_back, refunds, topup_refunds
from billing.services.idempotency import Call
from billing.services.withdrawals import Back, due
from pricing.models import PriceVersion, SpentRefundPolicy, Workspace
from tests import stripe_objects
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet, an_event
from tests.billing.topups import a_paid_topup

pytestmark = pytest.mark.django_db
TINY = Decimal("0.000001")

PROFILE = settings(
    max_examples=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],  # a failure is told at once; the longer one makes it small
    suppress_health_check=list(HealthCheck),
)

picks = st.integers(0, 7)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("buy"), st.sampled_from(["100", "0.000007", "33.333333", "500"]), st.sampled_from([1, 3, 499, 500]), picks),
        st.tuples(st.just("deposit"), st.sampled_from(["1", "40", "700"])),
        st.tuples(st.just("spend"), st.sampled_from([1, 3, 20, 77])),
        st.tuples(st.just("hold"), st.sampled_from(["1", "50", "400"])),
        st.tuples(st.just("capture"), picks, st.sampled_from(list(Overage)), st.sampled_from([1, 5])),
        st.tuples(st.just("release"), picks),
        st.tuples(st.just("expire"), st.sampled_from([1, 3])),
        st.tuples(st.just("undo"), picks),
        st.tuples(st.just("refund"), picks, st.sampled_from([1, 100, 166, 499, 500]), st.sampled_from(["pending", "succeeded"])),
        st.tuples(st.just("fail"), picks),
        st.tuples(st.just("dispute"), picks, st.sampled_from([200, 500, 900])),
        st.tuples(st.just("close"), picks, st.sampled_from(["won", "lost", "prevented", "warning_closed", "under_review"])),
        st.tuples(st.just("transfer"), st.sampled_from(["1", "33.333333", "400"])),
    ),
    min_size=4,
    max_size=16,
)


@dataclass
class Story:
    """One customer, and all that can still go on."""

    caller: Caller
    wallet: Wallet
    now: datetime = NOW
    topups: list[TopUp] = field(default_factory=list)
    refunds: list[dict[str, Any]] = field(default_factory=list)
    disputes: list[dict[str, Any]] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    charges: list[Charged] = field(default_factory=list)
    count: int = 0

    def buy(self, credits: str, amount_minor: int, lasts: int) -> None:
        terms = {"bonus_credits": Decimal(7)} if lasts % 2 else {}
        ends = self.now + timedelta(days=2) if lasts in {3, 4} else None
        topup = a_paid_topup(
            self.wallet,
            now=self.now,
            ends=ends,
            credits=credits,
            amount_minor=amount_minor,
            book_value=str(Decimal(amount_minor) / 100),
            **terms,
        )
        self.topups.append(topup)

    def deposit(self, credits: str) -> None:
        a_deposit(self.wallet, credits, amount=str(Decimal(credits) * 3 / 100), now=self.now)

    def spend(self, quantity: int) -> None:
        [result] = charging.charge([an_event(self.caller, quantity=Decimal(quantity))], now=self.now)
        if isinstance(result, Charged):
            self.charges.append(result)

    def hold(self, credits: str) -> None:
        self.count += 1
        call = Call(self.caller.project_id, f"hold-{self.count}", Operation.HOLD, b"0" * 16)
        try:
            placed = holds.place(
                caller=self.caller,
                customer=self.wallet.customer,
                event="chat.reply",
                quantity=None,
                credits=Decimal(credits),
                expires_in=10**7,
                now=self.now,
                call=call,
            )
        except (InsufficientCredits, WalletFrozen):
            return
        self.holds.append(placed.hold)

    def capture(self, which: int, overage: Overage, quantity: int) -> None:
        if not self.holds:
            return
        hold = self.holds.pop(which % len(self.holds))
        event = an_event(self.caller, capture=Capture(hold.pk, overage), quantity=Decimal(quantity))
        result = holds.capture(event=event, customer="user_42", now=self.now)
        if isinstance(result, Charged):
            self.charges.append(result)
        else:
            assert isinstance(result, Refused)
            assert hold.credits < quantity * 4, "what was held can be captured, whatever went back meanwhile"
            self.holds.append(hold)

    def release(self, which: int) -> None:
        if self.holds:
            holds.release(caller=self.caller, hold_id=self.holds.pop(which % len(self.holds)).pk, now=self.now)

    def expire(self, days: int) -> None:
        self.now += timedelta(days=days)
        ledger.expire(wallet_id=self.wallet.pk, now=self.now)

    def undo(self, which: int) -> None:
        if self.charges:
            record_id = self.charges[which % len(self.charges)].record_id
            try:
                refunds.refund_event(caller=self.caller, record_id=record_id, credits=None, reason="Wrong", now=self.now)
            except RefundExceedsCharge:
                return

    def refund(self, which: int, amount: int, status: str) -> None:
        if not self.topups:
            return
        topup = self.topups[which % len(self.topups)]
        amount = min(amount, topup_refunds.refundable(topup))
        if amount > 0:
            names = {"payment_intent": topup.payment_intent, "charge": topup.charge}
            self.refunds.append(stripe_objects.refund(amount=amount, status=status, **names))
            topup_refunds.apply(self.refunds[-1], self.now)

    def fail(self, which: int) -> None:
        if self.refunds:
            topup_refunds.apply(self.refunds.pop(which % len(self.refunds)) | {"status": "failed"}, self.now)

    def dispute(self, which: int, amount: int) -> None:
        if self.topups:
            topup = self.topups[which % len(self.topups)]
            names = {"payment_intent": topup.payment_intent, "charge": topup.charge}
            self.disputes.append(stripe_objects.dispute(amount=amount, **names))
            self.apply(self.disputes[-1])

    def close(self, which: int, status: str) -> None:
        if self.disputes:
            self.apply(self.disputes[which % len(self.disputes)] | {"status": status})

    def apply(self, dispute: dict[str, Any]) -> None:
        """Let Stripe tell of a dispute, later than all that it told so far."""
        self.count += 1
        disputes.apply(dispute, self.now, told_at=NOW + timedelta(seconds=self.count))

    def transfer(self, credits: str) -> None:
        friend = Wallet.objects.filter(customer__external_id="friend").first() or a_wallet(self.caller, "friend")
        with suppress(InsufficientCredits, WalletFrozen):
            ledger.transfer(
                from_wallet_id=self.wallet.pk,
                to_wallet_id=friend.pk,
                credits=Decimal(credits),
                reason="A present",
                actor="system:tests",
                now=self.now,
            )

    def check(self) -> None:
        """Assert what holds after each step."""
        for topup in self.topups:
            lot = Lot.objects.filter(payment=topup.payment).earliest("pk")
            bonus = Lot.objects.filter(payment=topup.payment).exclude(pk=lot.pk)
            entries = LedgerEntry.objects.filter(payment=topup.payment, kind=EntryKind.WITHDRAWAL).exclude(lot__in=bonus)
            taken = -sum((entry.credits for entry in entries), Decimal(0))
            back = min(money_back.went_back_minor(topup), topup.amount_minor)
            wanted = due(lot, Back(back, topup.amount_minor))
            parts = topup.refunds.count() + topup.disputes.count()
            assert abs(taken - wanted) <= parts * TINY, f"{topup}: {taken} credits for {back} of {topup.amount_minor}"
            if back in {0, topup.amount_minor}:
                assert taken == wanted, f"{topup}: {taken} credits for {back} of {topup.amount_minor}"
        is_open = any(topup.disputes.filter(state=DisputeState.OPEN).exists() for topup in self.topups)
        self.wallet.refresh_from_db()
        assert (self.wallet.status == WalletStatus.FROZEN) == is_open

    def end(self) -> None:
        """Let everything return that can."""
        while self.refunds:
            self.fail(0)
        for dispute in self.disputes:
            self.apply(dispute | {"status": "won"})


@pytest.mark.parametrize("policy", SpentRefundPolicy)
@PROFILE
@given(drawn=steps)
def test_what_goes_back_and_returns_is_exact(policy: SpentRefundPolicy, drawn: list[tuple[Any, ...]]) -> None:
    tell(drawn, policy)


@pytest.mark.slow
@pytest.mark.parametrize("policy", SpentRefundPolicy)
@settings(PROFILE, max_examples=12, derandomize=False, phases=[Phase.generate, Phase.shrink])
@given(drawn=steps)
def test_the_same_for_longer(policy: SpentRefundPolicy, drawn: list[tuple[Any, ...]]) -> None:
    tell(drawn, policy)


def tell(drawn: list[tuple[Any, ...]], policy: SpentRefundPolicy) -> None:
    Workspace.objects.update_or_create(pk=1, defaults={"spent_refund_policy": policy})
    if not PriceVersion.objects.exists():
        a_price("4")
    caller = a_caller()
    story = Story(caller, a_wallet(caller))
    story.buy("500", 500, 0)
    for name, *terms in drawn:
        getattr(story, name)(*terms)
        story.check()
    story.end()
    story.check()
    kept = sum(topup.disputes.filter(state__in=[DisputeState.LOST]).count() for topup in story.topups)
    ours = LedgerEntry.objects.filter(wallet=story.wallet)
    if not kept:
        assert sum((entry.credits for entry in ours.filter(kind=EntryKind.WITHDRAWAL)), Decimal(0)) == 0
        assert sum((entry.value for entry in ours.filter(kind=EntryKind.WITHDRAWAL)), Decimal(0)) == 0
        assert not ours.filter(kind=EntryKind.ADJUSTMENT).exclude(lot__kind=LotKind.OVERDRAFT).exists()
        written_off = ours.filter(kind=EntryKind.ADJUSTMENT)
        assert sum((entry.credits for entry in written_off), Decimal(0)) == 0
    debt = Lot.objects.filter(wallet=story.wallet, kind=LotKind.OVERDRAFT).first()
    if debt is not None and not debt.remaining:
        assert abs(debt.value_remaining) <= Decimal("0.00000001"), "who owes nothing owes no money"
    run = checking.check(now=story.now, actor="system:tests")
    assert run.is_clean, [rule for rule in run.rules if rule["break_count"]]
