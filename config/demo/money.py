"""What moves credits besides use: payments, grants, refunds, corrections, holds; and what people decided about wallets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from django.contrib.auth.models import User

from billing.errors import InsufficientCredits
from billing.events import Capture, Charged, Event, Overage, Result
from billing.models import Customer, MovementKind, MovementRequest, Operation, PaymentSource, Wallet, WalletStatus
from billing.services import customers, holds, ledger, movement_requests, refunds, sales
from billing.services.idempotency import Call
from billing.services.journal import Posted
from config.demo.buyers import Buyer, Habit, Pack
from config.demo.shape import Day
from config.demo.top_ups import FROZEN_DAYS_AGO, Shop
from config.demo.traffic import event
from pricing.units import Usage

FREE_GRANT = Decimal(400)
CAMPAIGN = Decimal(250)
CREDIT_LINE = Decimal(4_000)
_CAMPAIGN_DAYS_AGO = (74, 10)  # the first has expired by now, the second has not
_CAMPAIGN_LASTS = timedelta(days=30)
_OWES_SINCE_DAYS = 24
# How many days ago finance asked for a grant above its limit, why, and what was answered; the last one waits.
_ASKED = {
    40: (Decimal(15_000), "Pilot of the new agents, as the contract says", "Agreed: the contract has them"),
    18: (Decimal(50_000), "Compensation for the provider's outage", "Ten times what they lost: ask for what the outage cost them"),
    0: (Decimal(12_500), "Renewal bonus for the second year", ""),
}


@dataclass(slots=True)
class Till:
    """Everything that the company does with money, day by day."""

    buyers: Sequence[Buyer]
    users: Mapping[str, User]
    seed: int
    shop: Shop | None = None
    failed: list[tuple[Buyer, int]] = field(default_factory=list)
    paid: dict[int, int] = field(default_factory=dict)

    def open(self, *, now: datetime) -> None:
        """First payments, first grants, credit lines, and the balance at which each wallet counts as low."""
        if self.shop:
            self.shop.stock(now=now)
        for buyer in self.buyers:
            match buyer.habit:
                case Habit.FREE:
                    self._grant_month(buyer, now)
                case Habit.TESTER:
                    asked = self._move(buyer, Decimal(20_000), "Credits for tests", now)
                    if isinstance(asked, MovementRequest):
                        movement_requests.approve(request_id=asked.pk, reason="Agreed", decided_by=self.users["admin"], now=now)
                case _:
                    self._deposit(buyer, buyer.pack, now)
            if buyer.habit is Habit.OWES:
                customers.set_overdraft_limit(wallet_id=buyer.wallet_id, limit=CREDIT_LINE, reason="Pays by invoice", now=now)
            if buyer.habit in {Habit.BUYS, Habit.ONCE, Habit.OWES}:
                threshold = Decimal(100) if buyer.plan == "pro" else Decimal(1000)
                customers.set_low_balance_threshold(wallet_id=buyer.wallet_id, threshold=threshold, reason="As the plan has it")
        if self.shop:
            self.shop.hear(now=now)

    def begin(self, day: Day) -> None:
        """What happens at the start of a day."""
        random = Random(f"{self.seed}/{day.on}/money")  # noqa: S311 - a company is invented here, not a key
        now = day.starts + timedelta(minutes=20)
        for buyer in self.buyers:
            if buyer.habit is Habit.FREE and day.on.day == 1:
                self._grant_month(buyer, now)
            if day.ago in _CAMPAIGN_DAYS_AGO and buyer.plan == "pro" and random.random() < 0.6:
                self._grant(buyer, CAMPAIGN, f"Autumn campaign {day.on:%Y-%m}", now, expires_at=now + _CAMPAIGN_LASTS)
            if buyer.habit is Habit.FROZEN and day.ago == FROZEN_DAYS_AGO and not self.shop:
                customers.set_status(wallet_id=buyer.wallet_id, status=WalletStatus.FROZEN, reason="The bank reported the card as stolen")
        self._top_up(day, now)
        if self.shop:
            self.shop.begin(day, self.buyers, now=now)
        self._refund_failures(now + timedelta(minutes=10))
        self._correct(day, now + timedelta(minutes=20))
        self._work_with_holds(day, now + timedelta(minutes=30))

    def note(self, batch: Iterable[Event], results: Iterable[Result], day: Day) -> None:
        """Remember paid replies that the storm took: they are refunded the next morning."""
        if day.is_storm:
            by_name = {(buyer.project, buyer.external_id, buyer.caller.environment): buyer for buyer in self.buyers}
            for action, result in zip(batch, results, strict=True):
                if isinstance(result, Charged) and result.credits and action.outcome.status == "error" and action.customer:
                    who = (action.caller.project_key, action.customer, action.caller.environment)
                    self.failed.append((by_name[who], result.record_id))

    def _top_up(self, day: Day, now: datetime) -> None:
        """Whoever buys does so when about a day's use is left; an invoice customer is asked to no more since a while."""
        balances = dict(Wallet.objects.filter(pk__in=[buyer.wallet_id for buyer in self.buyers]).values_list("pk", "balance"))
        for buyer in self.buyers:
            is_buying = buyer.habit is Habit.BUYS or (buyer.habit is Habit.OWES and day.ago > _OWES_SINCE_DAYS)
            if is_buying and balances[buyer.wallet_id] < buyer.pack.credits / 8:
                self._deposit(buyer, buyer.pack, now)

    def _deposit(self, buyer: Buyer, pack: Pack, now: datetime) -> None:
        if self.shop and self.shop.serves(buyer):
            self.shop.sell("sale", buyer, pack, now=now)
            return
        number = self.paid[buyer.wallet_id] = self.paid.get(buyer.wallet_id, 0) + 1
        sales.deposit(
            wallet_id=buyer.wallet_id,
            credits=pack.credits,
            amount=pack.amount,
            currency="USD",
            source=PaymentSource.CUSTOM,
            payment_id=f"demo_{buyer.project}_{buyer.external_id}_{number}",
            actor=buyer.caller.actor,
            now=now,
            metadata={"demo": True},
        )

    def _grant_month(self, buyer: Buyer, now: datetime) -> None:
        ends = (now.replace(day=28) + timedelta(days=5)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        self._grant(buyer, FREE_GRANT, f"Free plan {now:%Y-%m}", now, expires_at=ends)

    def _grant(self, buyer: Buyer, credits: Decimal, reason: str, now: datetime, *, expires_at: datetime | None = None) -> None:
        ledger.grant(wallet_id=buyer.wallet_id, credits=credits, reason=reason, actor="system:campaigns", now=now, expires_at=expires_at)

    def _refund_failures(self, now: datetime) -> None:
        for buyer, record_id in self.failed:
            refunds.refund_event(caller=buyer.caller, record_id=record_id, credits=None, reason="No reply came: provider outage", now=now)
        self.failed.clear()

    def _correct(self, day: Day, now: datetime) -> None:
        """Corrections by hand, and what was asked for: above the workspace's limit a second person decides."""
        buying = [buyer for buyer in self.buyers if buyer.habit is Habit.BUYS]
        giving, taking = [buyer for buyer in buying if buyer.plan == "business"][:2]
        try:
            if day.ago % 17 == 5:
                self._move(buying[day.ago % len(buying)], Decimal(120), "Goodwill after a long outage", now, MovementKind.ADJUSTMENT)
            if day.ago % 29 == 8:
                self._move(buying[(day.ago * 7) % len(buying)], Decimal(-80), "Credited twice by mistake", now, MovementKind.ADJUSTMENT)
            if day.ago == 33:
                words = "Two accounts of one customer"
                self._move(giving, Decimal(500), words, now, MovementKind.TRANSFER, to_wallet_id=taking.wallet_id)
        except InsufficientCredits:
            return  # the wallet had less: finance left it at that
        if day.ago in _ASKED:
            credits, reason, answer = _ASKED[day.ago]
            asked = self._move(taking, credits, reason, now)
            if answer and isinstance(asked, MovementRequest):
                decide = movement_requests.approve if answer.startswith("Agreed") else movement_requests.reject
                decide(request_id=asked.pk, reason=answer, decided_by=self.users["admin"], now=now + timedelta(minutes=50))

    def _move(
        self, buyer: Buyer, credits: Decimal, reason: str, now: datetime, kind: MovementKind = MovementKind.GRANT, **terms: Any
    ) -> Posted | MovementRequest:
        """Let finance move credits by hand."""
        return movement_requests.move(
            kind=kind, wallet_id=buyer.wallet_id, credits=credits, reason=reason, requested_by=self.users["finance"], now=now, **terms
        )

    def _work_with_holds(self, day: Day, now: datetime) -> None:
        """Long runs set credits aside first; some of them never come back."""
        buyers = [b for b in self.buyers if b.project == "agent-platform" and b.plan == "business" and b.habit is Habit.BUYS]
        buyer = buyers[day.ago % len(buyers)]
        if day.ago % 3 and day.ago > 1:
            return
        held = self.hold(buyer, f"{day.on}", now, expires_in=3600)
        if held is None or day.ago % 4 == 0:  # left to expire, or open until then
            return
        if day.ago % 5 == 0:
            holds.release(caller=buyer.caller, hold_id=held, now=now + timedelta(minutes=1))
        else:
            spent = Usage("anthropic", "claude-opus-4-5", 52_000, 4_100, 41_000)
            ends = now + timedelta(minutes=4)
            capture = Capture(held, Overage.ALLOW if day.ago % 2 else Overage.AVAILABLE)
            action = event(buyer.caller, "agent.run", ends, f"held/{day.on}", usage=spent, capture=capture)
            holds.capture(event=action, customer=buyer.external_id, now=ends)

    def hold(self, buyer: Buyer, name: str, now: datetime, *, expires_in: int) -> int | None:
        """Set 40 credits aside for a long run; None when the wallet has less."""
        customer = Customer.objects.select_related("wallet", "project").get(pk=buyer.customer_id)
        call = Call(buyer.caller.project_id, f"demo:hold/{name}", Operation.HOLD, name.encode().ljust(16)[:16])
        try:
            placed = holds.place(
                caller=buyer.caller,
                customer=customer,
                event="agent.run",
                quantity=None,
                credits=Decimal(40),
                expires_in=expires_in,
                now=now,
                call=call,
            )
        except InsufficientCredits:
            return None
        return placed.hold.pk
