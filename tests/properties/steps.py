"""The commands that apps call: charges, refunds and holds, each done in the database and on paper."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from billing.events import Capture, Charged, Event, Overage, Refused, Result
from billing.models import Customer, HoldStatus, Operation
from billing.services import charging, holds, ledger, refunds
from pricing.models import EventType
from tests.billing.factories import an_event
from tests.properties.company import FUTURE, Bill, Person
from tests.properties.paper import No, PaperHold, micro
from tests.properties.wallet_steps import WalletSteps

EVENTS = ("chat.reply", "image.generate", "status.ping", "nothing.known")


@dataclass(frozen=True)
class Draft:
    """What one event of a batch is to be; what it points at (`position`) is chosen when the batch is made.

    `how`: "new", "again" (one that was charged), "twice" (the one before it in the batch), "clash" (the key of one that
    was charged, with another body), "capture".
    """

    quantity: Decimal = Decimal(1)
    how: str = "new"
    position: int = 0
    customer: str | None = "ann"
    event: str = "chat.reply"
    age: int | None = None
    overage: Overage = Overage.REFUSE


class Steps(WalletSteps):
    """All commands. Positions count what there is by now (holds, charges), and start again at its end."""

    def charge(self, batch: list[Draft]) -> None:
        events: list[Event] = []
        for draft in batch:
            is_repeated = draft.how == "twice" and events
            events.append(events[-1] if is_repeated else self.make_event(draft))
        estimate = charging.estimate(events[0], now=self.company.now) if len(events) == 1 else None
        results = charging.charge(events, now=self.company.now)
        assert len(results) == len(events), "one result per event"
        if estimate is not None:
            self.is_as_estimated(estimate, results[0])
        for event, result in zip(events, results, strict=True):
            self.expect(event, result)

    def make_event(self, draft: Draft) -> Event:
        known: list[tuple[Event, Charged]] = self.company.events
        if draft.how == "again" and known:
            first: Event = known[draft.position % len(known)][0]
            return first
        age, occurred_at = draft.age, None
        if age is not None:
            occurred_at = self.company.now - timedelta(seconds=age)
        fields: dict[str, Any] = {"customer": draft.customer, "event": draft.event, "quantity": draft.quantity, "occurred_at": occurred_at}
        if draft.how == "capture" and self.company.holds:
            hold, _, person = self.company.holds[draft.position % len(self.company.holds)]
            fields |= {"customer": person.name, "capture": Capture(hold.pk, draft.overage)}
        if draft.how == "clash" and known:
            key = known[draft.position % len(known)][0].idempotency_key
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

    def refund(self, position: int = 0, credits: Decimal | None = None, *, again: bool = False) -> None:
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

    def place_hold(self, name: str, credits: Decimal, lasts: int = 900, *, again: bool = False) -> None:
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

    def place_a_hold_and_forget_it(self, name: str, credits: Decimal) -> None:
        self.place_hold(name, credits, 30)
        self.company.now += timedelta(seconds=30)

    def capture(self, position: int = 0, quantity: int = 1, overage: Overage = Overage.REFUSE) -> None:
        hold, _, person = self.company.holds[position % len(self.company.holds)]
        event = an_event(
            self.caller,
            key=f"event_{self.number()}",
            customer=person.name,
            quantity=Decimal(quantity),
            capture=Capture(hold.pk, overage),
        )
        self.expect(event, holds.capture(event=event, customer=person.name, now=self.company.now))

    def release(self, position: int) -> None:
        hold, paper, _ = self.company.holds[position % len(self.company.holds)]

        def on_paper() -> None:
            if paper.state == "captured":
                raise No("hold_ended")
            if paper.is_open(self.company.now):
                paper.state = "released"

        ended = self.same(lambda: holds.release(caller=self.caller, hold_id=hold.pk, now=self.company.now), on_paper)
        assert ended is None or ended.status in {HoldStatus.RELEASED, HoldStatus.EXPIRED}

    def extend(self, position: int, lasts: int) -> None:
        hold, paper, _ = self.company.holds[position % len(self.company.holds)]

        def on_paper() -> None:
            if not paper.is_open(self.company.now):
                raise No("hold_ended")
            paper.ends = max(paper.ends, self.company.now + timedelta(seconds=lasts))

        extended = self.same(lambda: holds.extend(caller=self.caller, hold_id=hold.pk, expires_in=lasts, now=self.company.now), on_paper)
        assert extended is None or extended.expires_at == paper.ends

    def sweep_holds(self) -> None:
        holds.expire_due(now=self.company.now)

    def sweep_lots(self, name: str) -> None:
        person = self.person(name)
        person.paper.expire(self.company.now)
        self.told(person, ledger.expire(wallet_id=person.wallet.pk, now=self.company.now))
