"""The machine: every command, in any order, on a real database, against the same command on paper."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from billing import checks
from billing.events import Capture, Charged, Event, Overage, Refused, Result
from billing.models import Customer, HoldStatus, Operation, Payment, PaymentSource, WalletStatus
from billing.services import charging, customers, holds, ledger, refunds
from billing.services.idempotency import Call
from config.base.errors import DomainError
from pricing import price_book
from pricing.models import EventType, PriceRule, Segment, Workspace
from pricing.services import prices
from tests.billing.factories import LAST_YEAR, a_caller, an_event
from tests.properties.books import Books
from tests.properties.company import FUTURE, LIST_VALUE, Bill, Company, ListPrice, Person
from tests.properties.paper import No, PaperHold, micro

NAMES = ("ann", "ben", "cleo")
EVENTS = ("chat.reply", "image.generate", "status.ping", "nothing.known")

names = st.sampled_from(NAMES)
owners = st.sampled_from(NAMES[:2])  # these two are there from the beginning
few = st.sampled_from(["0.000001", "0.333333", "1", "2.5", "4", "7", "10", "40"]).map(Decimal)
many = st.sampled_from(["0.000003", "1", "3", "7", "10", "10", "30", "100"]).map(Decimal)
amounts = st.sampled_from(["0", "0.000000000001", "0.10", "1", "10", "19.99"]).map(Decimal)
lifetimes = st.sampled_from([None, None, 60, 3600, 86_400, 172_800])
priorities = st.sampled_from([50, 50, 50, 1, 100])
positions = st.integers(0, 30)
seconds = st.sampled_from([1, 59, 61, 900, 3600, 86_400])


@st.composite
def drafts(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what one event of a batch is to be; what it points at is chosen when the batch is made."""
    return {
        "how": draw(st.sampled_from(["new", "new", "new", "new", "again", "twice", "clash", "capture", "capture"])),
        "position": draw(positions),
        "customer": draw(st.sampled_from([*NAMES, *NAMES, None, "nobody"])),
        "event": draw(st.sampled_from([*EVENTS, "chat.reply", "chat.reply"])),
        "quantity": draw(st.sampled_from(["1", "1", "1", "0.5", "0.333333", "3", "12", "12"]).map(Decimal)),
        "age": draw(st.sampled_from([None, None, 0, 30, 3600, 90_000, 4_000_000, -60, -61])),
        "overage": draw(st.sampled_from([Overage.REFUSE, Overage.AVAILABLE])),
    }


class Machine(RuleBasedStateMachine):
    """One company per run, rolled back at its end."""

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

    # What the rules share.

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

    @initialize(plans=st.tuples(*[st.sampled_from(["", "pro"])] * 2), limit=st.sampled_from([0, 50]))
    def found(self, plans: tuple[str, str], limit: int) -> None:
        Workspace.objects.update(credit_value=LIST_VALUE)
        self.caller = a_caller()
        self.publish("chat.reply", Segment.DEFAULT, "", Decimal(4), LAST_YEAR)
        self.publish("status.ping", Segment.DEFAULT, "", Decimal(0), LAST_YEAR)
        self.publish("image.generate", Segment.PLAN, "pro", Decimal("2.5"), self.company.now - timedelta(days=1))
        for name, plan in zip(NAMES, plans, strict=False):
            self.upsert(name, plan)
            self.set_overdraft(name, limit)
            self.deposit(name, Decimal(10), Decimal("0.10"), None, 50, is_gift=False, again=False)

    @rule(name=names, plan=st.sampled_from(["", "pro"]))
    def upsert(self, name: str, plan: str) -> None:
        done = customers.upsert(caller=self.caller, external_id=name, changes={"plan": plan}, now=self.company.now)
        assert done.is_new == (name not in self.company.people)
        if done.is_new:
            person = self.company.join(name, done.customer.wallet, plan)
            self.papers[person.wallet.pk] = person.paper
        self.person(name).paper.plan = plan

    @rule(
        name=owners,
        credits=many,
        amount=amounts,
        lasts=lifetimes,
        priority=priorities,
        is_gift=st.booleans(),
        again=st.booleans(),
    )
    def deposit(
        self, name: str, credits: Decimal, amount: Decimal, lasts: int | None, priority: int, *, is_gift: bool, again: bool
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
            lambda: ledger.deposit(**terms),
            lambda: person.paper.deposit(micro(credits), worth, is_gift=is_gift, ends=ends, priority=priority),
        )
        self.told(person, posted)
        if again:
            repeated = ledger.deposit(**terms)
            assert repeated.replayed
            assert (repeated.transaction_id, repeated.balance, repeated.available) == (
                posted.transaction_id,
                posted.balance,
                posted.available,
            )
            assert Payment.objects.filter(external_id=terms["payment_id"]).count() == 1

    @rule(name=owners, credits=few, lasts=lifetimes, priority=priorities)
    def grant(self, name: str, credits: Decimal, lasts: int | None, priority: int) -> None:
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

    @rule(name=owners, credits=few, sign=st.sampled_from([1, -1]))
    def adjust(self, name: str, credits: Decimal, sign: int) -> None:
        person = self.person(name)
        terms = {"reason": "Correction", "actor": "user:vera", "now": self.company.now}
        posted = self.same(
            lambda: ledger.adjust(wallet_id=person.wallet.pk, credits=sign * credits, **terms),  # type: ignore[arg-type]
            lambda: person.paper.adjust(sign * micro(credits), self.company.now),
        )
        self.told(person, posted)

    @rule(giver=owners, credits=few)
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

    @rule(name=owners, limit=st.sampled_from([0, 0, 5, 50]))
    def set_overdraft(self, name: str, limit: int) -> None:
        person = self.person(name)
        customers.set_overdraft_limit(wallet_id=person.wallet.pk, limit=Decimal(limit), reason="Test", now=self.company.now)
        person.paper.limit = limit * 10**6

    @rule(name=owners, is_frozen=st.sampled_from([True, False, False]))
    def freeze(self, name: str, is_frozen: bool) -> None:
        status = WalletStatus.FROZEN if is_frozen else WalletStatus.ACTIVE
        customers.set_status(wallet_id=self.person(name).wallet.pk, status=status, reason="Test")
        self.person(name).paper.is_frozen = is_frozen

    @rule(passed=seconds)
    def wait(self, passed: int) -> None:
        self.company.now += timedelta(seconds=passed)

    @precondition(lambda self: self.company.ends())
    @rule(position=positions, early=st.sampled_from([0, 0, 1]))
    def wait_until_something_ends(self, position: int, early: int) -> None:
        ends = self.company.ends()
        self.company.now = max(self.company.now, ends[position % len(ends)] - timedelta(seconds=early))

    @rule(
        event=st.sampled_from(EVENTS[:2]),
        segment=st.sampled_from(list(Segment)),
        credits=st.sampled_from(["0.000001", "0.333333", "1", "4", "5"]).map(Decimal),
        starts_in=st.sampled_from([-5000, 120, 3600]),
        name=names,
    )
    def reprice(self, event: str, segment: Segment, credits: Decimal, starts_in: int, name: str) -> None:
        key = {Segment.CUSTOMER: self.price_key(name), Segment.PLAN: "pro", Segment.DEFAULT: ""}[segment]
        starts = self.company.now + timedelta(seconds=starts_in)
        earlier = self.company.prices.versions.get((event, str(segment), key), [])
        if not earlier or (starts_in > 0 and starts > earlier[-1].starts):
            self.publish(event, segment, key, credits, starts)

    @rule(batch=st.lists(drafts(), min_size=1, max_size=6))
    def charge(self, batch: list[dict[str, Any]]) -> None:
        events: list[Event] = []
        for draft in batch:
            is_repeated = draft["how"] == "twice" and events
            events.append(events[-1] if is_repeated else self.make_event(draft))
        estimate = charging.estimate(events[0], now=self.company.now) if len(events) == 1 else None
        results = charging.charge(events, now=self.company.now)
        assert len(results) == len(events), "one result per event"
        if estimate is not None:
            self.is_as_estimated(estimate, results[0])
        for event, result in zip(events, results, strict=True):
            self.expect(event, result)

    def make_event(self, draft: dict[str, Any]) -> Event:
        known: list[tuple[Event, Charged]] = self.company.events
        if draft["how"] == "again" and known:
            first: Event = known[draft["position"] % len(known)][0]
            return first
        age, occurred_at = draft["age"], None
        if age is not None:
            occurred_at = self.company.now - timedelta(seconds=age)
        fields = {"customer": draft["customer"], "event": draft["event"], "quantity": draft["quantity"], "occurred_at": occurred_at}
        if draft["how"] == "capture" and self.company.holds:
            hold, _, person = self.company.holds[draft["position"] % len(self.company.holds)]
            fields |= {"customer": person.name, "capture": Capture(hold.pk, draft["overage"])}
        if draft["how"] == "clash" and known:
            key = known[draft["position"] % len(known)][0].idempotency_key
            return an_event(self.caller, key=key, body_hash=b"another body....", **fields)
        return an_event(self.caller, key=f"event_{self.number()}", **fields)

    @staticmethod
    def is_as_estimated(estimate: Result, result: Result) -> None:
        if isinstance(estimate, Charged) and isinstance(result, Charged):
            assert estimate._replace(record_id=result.record_id) == result, "the charge is as it was estimated"
        else:
            assert estimate == result, "the refusal is as it was estimated"

    def expect(self, event: Event, result: Result) -> None:
        """Charge the event on paper and compare."""
        if earlier := self.company.events_by_key().get(event.idempotency_key):
            self.is_answered_again(earlier, event, result)
            return
        try:
            version, parts, person = self.on_paper(event)
        except No as no:
            refusal = no.args[0]
        else:
            refusal = None
        if refusal:
            assert isinstance(result, Refused), f"charged, on paper refused with {refusal}"
            assert result.code == refusal, "refused for the reason on paper"
            return
        assert isinstance(result, Charged), f"{result}, on paper charged"
        assert (result.version, result.replayed) == (version, False)
        assert micro(result.credits) == sum(part.credits for part in parts)
        assert [micro(lot.credits) for lot in result.lots] == [part.credits for part in parts]
        if person:
            self.told(person, result)
            self.company.bills.append(Bill(person.paper, parts, result.record_id))
        self.company.events.append((event, result))

    @staticmethod
    def is_answered_again(earlier: tuple[Event, Charged], event: Event, result: Result) -> None:
        first, charged = earlier
        if first.body_hash == event.body_hash:
            assert result == charged._replace(replayed=True), "a repeated call gets the identical answer"
        else:
            assert isinstance(result, Refused)
            assert result.code == "idempotency_mismatch"

    def on_paper(self, event: Event) -> tuple[int | None, list[Any], Person | None]:
        now = self.company.now
        at = event.occurred_at or now
        if event.event not in EVENTS or not EventType.objects.filter(name=event.event).exists():
            raise No("unknown_event_type")
        if at > now + FUTURE:
            raise No("invalid_request")
        if event.customer is None:
            return None, [], None
        person = self.company.people.get(event.customer)
        if person is None:
            raise No("unknown_customer")
        version, cost = self.company.cost(event.event, person, micro(event.quantity), at, self.price_key(person.name))
        if event.capture:
            hold = self.company.hold(event.capture.hold_id)
            return version, person.paper.capture(hold, cost, event.capture.overage, now), person
        return version, person.paper.charge(cost, now), person

    @precondition(lambda self: self.company.bills)
    @rule(position=positions, credits=st.none() | few, again=st.booleans())
    def refund(self, position: int, credits: Decimal | None, again: bool) -> None:
        bill = self.company.bills[position % len(self.company.bills)]
        person = next(person for person in self.company.people.values() if person.paper is bill.wallet)
        call = self.call(Operation.REFUND)

        def work() -> Any:
            return refunds.refund_event(
                caller=self.caller, record_id=bill.record_id, credits=credits, reason="Test", now=self.company.now, call=call
            )

        posted = self.same(work, lambda: person.paper.refund(bill.parts, None if credits is None else micro(credits)))
        self.told(person, posted)
        if posted is not None and again:
            repeated = work()
            assert (repeated.transaction_id, repeated.balance, repeated.available, repeated.replayed) == (
                posted.transaction_id,
                posted.balance,
                posted.available,
                True,
            )

    @rule(name=owners, credits=few, lasts=st.sampled_from([30, 900, 90_000]), again=st.booleans())
    def place_hold(self, name: str, credits: Decimal, lasts: int, again: bool) -> None:
        person, now = self.person(name), self.company.now
        call = self.call(Operation.HOLD)

        def work() -> holds.Placed:
            return holds.place(
                caller=self.caller,
                customer=Customer.objects.select_related("wallet", "project").get(pk=person.wallet.customer_id),
                event="chat.reply",
                quantity=None,
                credits=credits,
                expires_in=lasts,
                now=now,
                call=call,
            )

        def paper() -> None:
            if person.paper.is_frozen:
                raise No("wallet_frozen")
            if micro(credits) > person.paper.available(now):
                raise No("insufficient_credits")
            person.paper.expire(now)
            person.paper.holds.append(PaperHold(micro(credits), now + timedelta(seconds=lasts)))

        placed = self.same(work, paper)
        if placed is not None:
            assert micro(placed.available) == person.paper.available(now)
            self.company.holds.append((placed.hold, person.paper.holds[-1], person))
            if again:
                repeated = work()
                assert (repeated.hold.pk, repeated.available, repeated.replayed) == (placed.hold.pk, placed.available, True)

    @rule(name=owners, credits=few)
    def place_a_hold_and_forget_it(self, name: str, credits: Decimal) -> None:
        self.place_hold(name, credits, 30, again=False)
        self.company.now += timedelta(seconds=30)

    @precondition(lambda self: self.company.holds)
    @rule(position=positions, quantity=st.sampled_from([1, 1, 3, 20]), overage=st.sampled_from(list(Overage)))
    def capture(self, position: int, quantity: int, overage: Overage) -> None:
        hold, _, person = self.company.holds[position % len(self.company.holds)]
        event = an_event(
            self.caller,
            key=f"event_{self.number()}",
            customer=person.name,
            quantity=Decimal(quantity),
            capture=Capture(hold.pk, overage),
        )
        self.expect(event, holds.capture(event=event, customer=person.name, now=self.company.now))

    @precondition(lambda self: self.company.holds)
    @rule(position=positions)
    def release(self, position: int) -> None:
        hold, paper, _ = self.company.holds[position % len(self.company.holds)]

        def on_paper() -> None:
            if paper.state == "captured":
                raise No("hold_ended")
            if paper.is_open(self.company.now):
                paper.state = "released"

        ended = self.same(lambda: holds.release(caller=self.caller, hold_id=hold.pk, now=self.company.now), on_paper)
        assert ended is None or ended.status in {HoldStatus.RELEASED, HoldStatus.EXPIRED}

    @precondition(lambda self: self.company.holds)
    @rule(position=positions, lasts=st.sampled_from([30, 900, 90_000]))
    def extend(self, position: int, lasts: int) -> None:
        hold, paper, _ = self.company.holds[position % len(self.company.holds)]

        def on_paper() -> None:
            if not paper.is_open(self.company.now):
                raise No("hold_ended")
            paper.ends = max(paper.ends, self.company.now + timedelta(seconds=lasts))

        extended = self.same(lambda: holds.extend(caller=self.caller, hold_id=hold.pk, expires_in=lasts, now=self.company.now), on_paper)
        assert extended is None or extended.expires_at == paper.ends

    @rule()
    def sweep_holds(self) -> None:
        holds.expire_due(now=self.company.now)

    @rule(name=owners)
    def sweep_lots(self, name: str) -> None:
        person = self.person(name)
        person.paper.expire(self.company.now)
        self.told(person, ledger.expire(wallet_id=person.wallet.pk, now=self.company.now))

    # What holds after each of them.

    @invariant()
    def the_books_agree(self) -> None:
        self.books.agree(self.company.now)
