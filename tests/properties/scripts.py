"""Steps by hand, each the shortest way to one planted bug. Everyone begins with ten credits at a cent each, and no limit."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from pricing.models import Segment
from tests.properties.steps import Draft, Steps

Script = Callable[[Steps], None]


def follow(script: Script) -> None:
    """Found a company, go through the steps and see that the books agree at their end."""
    steps = Steps()
    try:
        steps.found(plans=("", ""), limit=0)
        script(steps)
        steps.the_books_agree()
    finally:
        steps.teardown()


def _replies(steps: Steps, quantity: str = "1", **about: Any) -> None:
    """Charge Ann for replies at four credits each."""
    steps.charge([Draft(Decimal(quantity), **about)])


def _deposit(steps: Steps, credits: int, amount: str = "0.30", priority: int = 50) -> None:
    steps.deposit("ann", Decimal(credits), Decimal(amount), priority=priority)


def _grant(steps: Steps, credits: int = 4, **about: int) -> None:
    steps.grant("ann", Decimal(credits), **about)


def _hold(steps: Steps, credits: int) -> None:
    steps.place_hold("ann", Decimal(credits))


def pay_beside_a_newer_lot(steps: Steps) -> None:
    _deposit(steps, 30)
    _replies(steps)


def pay_beside_a_lot_that_goes_first(steps: Steps) -> None:
    _deposit(steps, 30, priority=1)
    _replies(steps)


def pay_beside_a_gift(steps: Steps) -> None:
    _grant(steps)
    _replies(steps)


def pay_beside_an_expired_gift(steps: Steps) -> None:
    _grant(steps, lasts=60)
    steps.wait(61)
    _replies(steps)


def pay_at_the_moment_of_expiry(steps: Steps) -> None:
    _grant(steps, lasts=60)
    steps.wait_until_something_ends(position=0, early=0)
    _replies(steps)


def pay_a_millionth(steps: Steps) -> None:
    _replies(steps, "0.333333")


def empty_a_lot_whose_value_does_not_divide(steps: Steps) -> None:
    _deposit(steps, 3, "0.10", priority=1)
    _replies(steps)


def pay_more_than_may_be_owed(steps: Steps) -> None:
    steps.set_overdraft("ann", 5)
    _replies(steps, "12")


def pay_what_may_be_owed(steps: Steps) -> None:
    steps.set_overdraft("ann", 50)
    _replies(steps, "12")


def top_up_what_is_owed(steps: Steps) -> None:
    pay_what_may_be_owed(steps)
    _deposit(steps, 100)


def refund_a_settled_debt(steps: Steps) -> None:
    top_up_what_is_owed(steps)
    steps.refund()


def refund_a_part_of_two_lots(steps: Steps) -> None:
    _grant(steps, 1)
    _replies(steps)
    steps.refund(credits=Decimal(1))


def refund_beside_a_newer_lot(steps: Steps) -> None:
    _replies(steps)
    _deposit(steps, 30)
    steps.refund()


def refund_into_an_emptied_lot(steps: Steps) -> None:
    _replies(steps, "2.5")
    steps.refund()


def refund_twice(steps: Steps) -> None:
    _replies(steps)
    steps.refund()
    steps.refund()


def pay_from_a_frozen_wallet(steps: Steps) -> None:
    steps.freeze("ann", is_frozen=True)
    _replies(steps)


def report_twice_in_one_batch(steps: Steps) -> None:
    steps.charge([Draft(), Draft(how="twice")])


def report_again(steps: Steps) -> None:
    _replies(steps)
    _replies(steps, how="again")


def report_another_body(steps: Steps) -> None:
    _replies(steps)
    _replies(steps, how="clash")


def report_late_what_had_another_price(steps: Steps) -> None:
    steps.reprice("chat.reply", Segment.DEFAULT, Decimal(5), starts_in=120, name="ann")
    steps.wait(900)
    _replies(steps, age=3600)


def pay_the_price_of_a_plan(steps: Steps) -> None:
    steps.upsert("ann", "pro")
    _replies(steps, event="image.generate")


def pay_beside_a_hold(steps: Steps) -> None:
    _hold(steps, 7)
    _replies(steps)


def pay_after_a_hold_has_ended(steps: Steps) -> None:
    steps.place_a_hold_and_forget_it("ann", Decimal(7))
    _replies(steps)


def capture_less_than_is_held(steps: Steps) -> None:
    _hold(steps, 7)
    steps.capture()


def capture_a_hold_that_has_ended(steps: Steps) -> None:
    steps.place_a_hold_and_forget_it("ann", Decimal(7))
    steps.capture()


def extend_for_less_than_is_left(steps: Steps) -> None:
    _hold(steps, 4)
    steps.extend(position=0, lasts=30)


def sweep_a_lot_that_is_held(steps: Steps) -> None:
    _grant(steps, lasts=60)
    _hold(steps, 7)
    steps.wait(61)
    steps.sweep_lots("ann")


def take_back_what_is_held(steps: Steps) -> None:
    _hold(steps, 7)
    steps.adjust("ann", Decimal(4), sign=-1)
