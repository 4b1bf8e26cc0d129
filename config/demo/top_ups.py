"""What the company sells through Stripe, by the simulation: packs, orders, and what went wrong with some of them.

Orders, events, refunds and payouts go the same way as real ones; only the buyers and their banks are played. Stripe's
clock stands at the moment that is being lived through, and the desk asks for the events as its sweeper would, since no
webhook can arrive in the past.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User

from billing.models import CreditPack, Customer, PackPrice, TopUp, TopUpChannel
from billing.services import inbox, stripe_gateway, topup_orders, topup_refunds
from billing.services.topup_orders import Order, Wanted
from config.demo import to_try
from config.demo.buyers import PACKS, SMALL, Buyer, Habit, Pack
from config.demo.shape import Day
from config.demo.stripe.running import Control

FROZEN_DAYS_AGO = 12  # a buyer's bank took a payment back: the card was stolen
_SELLS = "image-studio"  # the project whose customers pay through Stripe; the others pay on rails of the company's own
_BONUS = {Decimal(25_000): Decimal(1_000)}
_IN_EUROS = {Decimal(2_500): (2_250, Decimal("24.30"))}  # what buyers pay, in cents, and what the sale is worth in dollars
_PAYOUT_EVERY_DAYS = 14
_LATER = timedelta(minutes=5)


@dataclass(slots=True)
class Shop:
    """The counter at which credits are sold, with the simulated Stripe behind it."""

    bank: Control
    users: dict[str, User]
    has_news: bool = False
    sold: dict[str, str] = field(default_factory=dict)  # sessions and disputes that come up again, by their part in the story

    def stock(self, *, now: datetime) -> None:
        """Put the packs on sale."""
        for pack in (SMALL, *PACKS["pro"], *PACKS["business"]):
            kept = CreditPack.objects.create(
                key=_key(pack),
                name=f"{pack.credits:,} credits",
                credits=pack.credits,
                bonus_credits=_BONUS.get(pack.credits, Decimal(0)),
                bonus_expires_after_days=90 if pack.credits in _BONUS else None,
                active_from=now,
            )
            PackPrice.objects.create(pack=kept, currency="USD", amount_minor=int(pack.amount * 100), book_value=pack.amount)
            if pack.credits in _IN_EUROS:
                cents, worth = _IN_EUROS[pack.credits]
                PackPrice.objects.create(pack=kept, currency="EUR", amount_minor=cents, book_value=worth)

    def serves(self, buyer: Buyer) -> bool:
        """Say whether this customer pays through Stripe."""
        return buyer.project == _SELLS

    def sell(self, part: str, buyer: Buyer, pack: Pack, *, now: datetime, card: str = "visa", currency: str = "USD") -> None:
        """Have a customer order a pack and pay it. The credits come when the desk hears of it."""
        self.sold[part] = self.order(buyer, pack, now=now, currency=currency)
        self.bank.do("pay", session=self.sold[part], card=card)

    def order(self, buyer: Buyer, pack: Pack, *, now: datetime, currency: str = "USD") -> str:
        """Have a customer order a pack; returns the session, which nobody has paid yet."""
        self.set_clock(now)
        self.has_news = True
        wanted = Order(
            customer=Customer.objects.select_related("wallet").get(pk=buyer.customer_id),
            wanted=Wanted(pack=_key(pack), currency=currency),
            channel=TopUpChannel.API,
            actor=buyer.caller.actor,
            success_url="https://studio.example.com/credits?order={CHECKOUT_SESSION_ID}",
            cancel_url="https://studio.example.com/credits",
        )
        return topup_orders.order(wanted, now=now).topup.checkout_session

    def hear(self, *, now: datetime) -> None:
        """Let the desk hear what Stripe has to tell, some minutes after it happened."""
        if self.has_news:
            inbox.sweep(now=now + _LATER)
            inbox.work_off(now=now + _LATER)
            self.has_news = False

    def begin(self, day: Day, buyers: Sequence[Buyer], *, now: datetime) -> None:
        """What happens at the start of a day, beside the ordinary sales of it."""
        self.set_clock(now)
        self.has_news |= day.ago in {*_STORY, *_WITHOUT_US, FROZEN_DAYS_AGO} or day.ago % _PAYOUT_EVERY_DAYS == 3
        if day.ago in _STORY:
            _STORY[day.ago](self, [buyer for buyer in buyers if self.serves(buyer) and buyer.habit is Habit.BUYS], now)
        if day.ago == FROZEN_DAYS_AGO:
            self._card_was_stolen(next(buyer for buyer in buyers if buyer.habit is Habit.FROZEN))
        if day.ago % _PAYOUT_EVERY_DAYS == 3:
            self.bank.do("pay_out")
        self.hear(now=now)

    def set_clock(self, now: datetime) -> None:
        """Let Stripe's clock stand at this moment."""
        self.bank.do("clock", at=int(now.timestamp()))

    def _card_was_stolen(self, buyer: Buyer) -> None:
        """Let the bank take back what a stolen card had paid: the wallet freezes, and what was spent is owed."""
        payment = TopUp.objects.filter(wallet=buyer.wallet_id).latest("pk").payment_intent
        self.bank.do("warn", payment=payment)
        self.bank.do("open_dispute", payment=payment)

    def refund(self, topup: TopUp, amount_minor: int, reason: str, *, now: datetime) -> None:
        """Have finance give money back; above the workspace's limit it waits for somebody else."""
        asked = topup_refunds.request(
            topup_id=topup.pk, amount_minor=amount_minor, reason=reason, requested_by=self.users["finance"], now=now
        )
        self.set_clock(now)
        topup_refunds.send(refund_id=asked.pk, gateway=stripe_gateway.gateway(), now=now)


def _key(pack: Pack) -> str:
    return f"credits-{pack.credits}"


def _order_of(session: str) -> TopUp:
    return TopUp.objects.get(checkout_session=session)


def _a_bank_that_refuses(shop: Shop, buying: Sequence[Buyer], now: datetime) -> None:
    shop.sell("refuses", buying[4], PACKS["pro"][1], now=now, card="bank")


def _it_refuses(shop: Shop, _: Sequence[Buyer], __: datetime) -> None:
    shop.bank.do("bank_answers", payment=shop.sold["refuses"], pays=False)


def _a_bank_that_takes_its_time(shop: Shop, buying: Sequence[Buyer], now: datetime) -> None:
    shop.sell("takes its time", buying[6], PACKS["pro"][1], now=now, card="bank")


def _it_pays(shop: Shop, _: Sequence[Buyer], __: datetime) -> None:
    shop.bank.do("bank_answers", payment=shop.sold["takes its time"], pays=True)


def _a_sale_that_goes_wrong(shop: Shop, buying: Sequence[Buyer], now: datetime) -> None:
    shop.sell("won", buying[3], PACKS["pro"][0], now=now)


def _it_is_disputed(shop: Shop, _: Sequence[Buyer], __: datetime) -> None:
    shop.sold["dispute"] = shop.bank.do("open_dispute", payment=shop.sold["won"], reason="product_not_received")["id"]


def _it_is_won(shop: Shop, _: Sequence[Buyer], __: datetime) -> None:
    shop.bank.do("close_dispute", dispute=shop.sold["dispute"], outcome="won")


def _a_link_that_nobody_uses(shop: Shop, buying: Sequence[Buyer], now: datetime) -> None:
    shop.order(buying[5], PACKS["pro"][0], now=now)


def _a_second_card(shop: Shop, buying: Sequence[Buyer], now: datetime) -> None:
    session = shop.order(buying[2], PACKS["pro"][0], now=now)
    for card in ("insufficient_funds", "mastercard"):
        shop.bank.do("pay", session=session, card=card)


def _too_large_a_pack(shop: Shop, buying: Sequence[Buyer], now: datetime) -> None:
    shop.sell("too large", buying[1], PACKS["pro"][1], now=now)


def _money_back_in_part(shop: Shop, _: Sequence[Buyer], now: datetime) -> None:
    shop.refund(_order_of(shop.sold["too large"]), 950, "Bought more than needed", now=now)


def _a_sale_in_euros(shop: Shop, buying: Sequence[Buyer], now: datetime) -> None:
    shop.sell("euros", buying[4], PACKS["pro"][1], now=now, currency="EUR")


def _a_large_pack(shop: Shop, buying: Sequence[Buyer], now: datetime) -> None:
    shop.sell("large", buying[0], PACKS["business"][1], now=now)


def _a_large_refund(shop: Shop, _: Sequence[Buyer], now: datetime) -> None:
    shop.refund(_order_of(shop.sold["large"]), 19_500, "Contract ended early", now=now)


def _a_payment_past_the_desk(shop: Shop, _: Sequence[Buyer], __: datetime) -> None:
    to_try.be_paid_past_the_desk(shop.bank)


def _a_saved_card(shop: Shop, buying: Sequence[Buyer], now: datetime) -> None:
    to_try.save_a_card(shop.bank, buying[0], now=now)


def _a_link_that_is_open(shop: Shop, buying: Sequence[Buyer], now: datetime) -> None:
    shop.order(buying[5], PACKS["pro"][1], now=now)


# What happens how many days ago.
_STORY: dict[int, Callable[[Shop, Sequence[Buyer], datetime], None]] = {
    49: _a_sale_that_goes_wrong,
    48: _it_is_disputed,
    41: _it_is_won,
    39: _a_bank_that_refuses,
    36: _it_refuses,
    34: _a_link_that_nobody_uses,
    26: _a_bank_that_takes_its_time,
    23: _it_pays,
    19: _a_second_card,
    16: _too_large_a_pack,
    15: _money_back_in_part,
    9: _a_payment_past_the_desk,
    8: _a_sale_in_euros,
    5: _a_saved_card,
    3: _a_large_pack,
    2: _a_large_refund,
    0: _a_link_that_is_open,
}
_WITHOUT_US = {33}  # a link ends after a day
