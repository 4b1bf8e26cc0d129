"""The commands on wallets, each done in the database and on paper, both of which must come to the same.

A step can be chosen by hand (`scripts`) or by chance (`machine`).
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing import checks
from billing.models import Operation, Payment, PaymentSource, WalletStatus
from billing.services import customers, ledger, sales
from billing.services.idempotency import Call
from config.base.errors import DomainError
from pricing import price_book
from pricing.models import EventType, PriceRule, Segment, Workspace
from pricing.services import prices
from tests.billing.factories import LAST_YEAR, a_caller
from tests.properties.books import Books
from tests.properties.company import LIST_VALUE, Company, ListPrice, Person
from tests.properties.paper import No, micro

NAMES = ("ann", "ben", "cleo")


class WalletSteps:
    """One company, rolled back at its end."""

    def __init__(self) -> None:
        super().__init__()
        price_book.forget()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.company = Company()
        self.papers: dict[int, Any] = {}
        self.books = Books(self.papers)
        self.numbers = 0

    def teardown(self) -> None:
        try:
            report = checks.run()
            assert not report.breaks, report.breaks
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)
            price_book.forget()

    def the_books_agree(self) -> None:
        """Assert what holds after every step."""
        self.books.agree(self.company.now)

    # What the steps share.

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def person(self, name: str) -> Person:
        return self.company.people[name]

    def price_key(self, name: str) -> str:
        return f"{self.caller.project_key}/{name}"

    def call(self, operation: Operation) -> Call:
        return Call(self.caller.project_id, f"call_{self.number()}", operation, b"c" * 16)

    def same(self, code: Callable[[], Any], paper: Callable[[], Any]) -> Any:
        """Do a command here and on paper; both must go through or be refused for the same reason."""
        refusal = here = None
        try:
            paper()
        except No as no:
            refusal = no.args[0]
        try:
            done = code()
        except DomainError as error:
            done, here = None, error.code
        assert here == refusal, f"refused with {here}, on paper with {refusal}"
        return done

    def told(self, person: Person, answer: Any) -> None:
        """Assert that an answer says how the wallet stands."""
        if answer is not None:
            assert micro(answer.balance) == person.paper.balance, "the balance that was answered"
            assert micro(answer.available) == person.paper.available(self.company.now), "the available credits that were answered"

    def publish(self, event: str, segment: Segment, key: str, credits: Decimal, starts: Any) -> None:
        event_type, _ = EventType.objects.get_or_create(name=event, defaults={"label": event})
        rule_row, _ = PriceRule.objects.get_or_create(event_type=event_type, segment=segment, segment_key=key)
        version = prices.publish_version(
            rule=rule_row, credits_per_event=credits, effective_from=starts, reason="Test", actor=None, now=self.company.now
        )
        versions = self.company.prices.versions.setdefault((event, str(segment), key), [])
        versions.append(ListPrice(starts, version.number, micro(credits)))

    # The commands.

    def found(self, plans: tuple[str, str], limit: int) -> None:
        Workspace.objects.update(credit_value=LIST_VALUE)
        self.caller = a_caller()
        self.publish("chat.reply", Segment.DEFAULT, "", Decimal(4), LAST_YEAR)
        self.publish("status.ping", Segment.DEFAULT, "", Decimal(0), LAST_YEAR)
        self.publish("image.generate", Segment.PLAN, "pro", Decimal("2.5"), self.company.now - timedelta(days=1))
        for name, plan in zip(NAMES, plans, strict=False):
            self.upsert(name, plan)
            self.set_overdraft(name, limit)
            self.deposit(name, Decimal(10), Decimal("0.10"))

    def upsert(self, name: str, plan: str) -> None:
        done = customers.upsert(caller=self.caller, external_id=name, changes={"plan": plan}, now=self.company.now)
        assert done.is_new == (name not in self.company.people)
        if done.is_new:
            person = self.company.join(name, done.customer.wallet, plan)
            self.papers[person.wallet.pk] = person.paper
        self.person(name).paper.plan = plan

    def deposit(
        self,
        name: str,
        credits: Decimal,
        amount: Decimal,
        lasts: int | None = None,
        priority: int = 50,
        *,
        is_gift: bool = False,
        again: bool = False,
    ) -> None:
        person = self.person(name)
        ends = self.company.now + timedelta(seconds=lasts) if lasts else None
        terms: dict[str, Any] = {
            "wallet_id": person.wallet.pk,
            "credits": credits,
            "amount": amount,
            "currency": "USD",
            "source": PaymentSource.CUSTOM,
            "payment_id": f"pay_{self.number()}",
            "actor": "system:tests",
            "now": self.company.now,
            "is_promotional": is_gift,
            "expires_at": ends,
            "priority": priority,
            "call": self.call(Operation.DEPOSIT),
        }
        worth = int(amount.scaleb(12))
        posted = self.same(
            lambda: sales.deposit(**terms),
            lambda: person.paper.deposit(micro(credits), worth, is_gift=is_gift, ends=ends, priority=priority),
        )
        self.told(person, posted)
        if again:
            repeated = sales.deposit(**terms)
            assert repeated.replayed
            assert (repeated.transaction_id, repeated.balance, repeated.available) == (
                posted.transaction_id,
                posted.balance,
                posted.available,
            )
            assert Payment.objects.filter(external_id=terms["payment_id"]).count() == 1

    def grant(self, name: str, credits: Decimal, lasts: int | None = None, priority: int = 50) -> None:
        person = self.person(name)
        ends = self.company.now + timedelta(seconds=lasts) if lasts else None
        posted = ledger.grant(
            wallet_id=person.wallet.pk,
            credits=credits,
            reason="Gift",
            actor="user:vera",
            now=self.company.now,
            expires_at=ends,
            priority=priority,
        )
        lot = person.paper.new_lot(micro(credits), 0, is_gift=True, ends=ends, priority=priority)
        person.paper.write("grant", lot, micro(credits), 0)
        self.told(person, posted)

    def adjust(self, name: str, credits: Decimal, sign: int) -> None:
        person = self.person(name)
        terms = {"reason": "Correction", "actor": "user:vera", "now": self.company.now}
        posted = self.same(
            lambda: ledger.adjust(wallet_id=person.wallet.pk, credits=sign * credits, **terms),  # type: ignore[arg-type]
            lambda: person.paper.adjust(sign * micro(credits), self.company.now),
        )
        self.told(person, posted)

    def transfer(self, giver: str, credits: Decimal) -> None:
        person, other = self.person(giver), self.person(NAMES[1 - NAMES.index(giver)])
        posted = self.same(
            lambda: ledger.transfer(
                from_wallet_id=person.wallet.pk,
                to_wallet_id=other.wallet.pk,
                credits=credits,
                reason="Moved",
                actor="user:vera",
                now=self.company.now,
            ),
            lambda: person.paper.give(other.paper, micro(credits), self.company.now),
        )
        self.told(person, posted)

    def set_overdraft(self, name: str, limit: int) -> None:
        person = self.person(name)
        customers.set_overdraft_limit(wallet_id=person.wallet.pk, limit=Decimal(limit), reason="Test", now=self.company.now)
        person.paper.limit = limit * 10**6

    def freeze(self, name: str, is_frozen: bool) -> None:
        status = WalletStatus.FROZEN if is_frozen else WalletStatus.ACTIVE
        customers.set_status(wallet_id=self.person(name).wallet.pk, status=status, reason="Test")
        self.person(name).paper.is_frozen = is_frozen

    def wait(self, passed: int) -> None:
        self.company.now += timedelta(seconds=passed)

    def wait_until_something_ends(self, position: int, early: int) -> None:
        ends = self.company.ends()
        self.company.now = max(self.company.now, ends[position % len(ends)] - timedelta(seconds=early))

    def reprice(self, event: str, segment: Segment, credits: Decimal, starts_in: int, name: str) -> None:
        key = {Segment.CUSTOMER: self.price_key(name), Segment.PLAN: "pro", Segment.DEFAULT: ""}[segment]
        starts = self.company.now + timedelta(seconds=starts_in)
        earlier = self.company.prices.versions.get((event, str(segment), key), [])
        if not earlier or (starts_in > 0 and starts > earlier[-1].starts):
            self.publish(event, segment, key, credits, starts)
