"""The machine: every command, in any order, on a real database, against the same command on paper."""

from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from billing.events import Overage
from pricing.models import Segment
from tests.properties.steps import EVENTS, Draft, Steps
from tests.properties.wallet_steps import NAMES

names = st.sampled_from(NAMES)
owners = st.sampled_from(NAMES[:2])  # these two are there from the beginning
few = st.sampled_from(["0.000001", "0.333333", "1", "2.5", "4", "7", "10", "40"]).map(Decimal)
many = st.sampled_from(["0.000003", "1", "3", "7", "10", "10", "30", "100"]).map(Decimal)
amounts = st.sampled_from(["0", "0.000000000001", "0.10", "1", "10", "19.99"]).map(Decimal)
lifetimes = st.sampled_from([None, None, 60, 3600, 86_400, 172_800])
priorities = st.sampled_from([50, 50, 50, 1, 100])
positions = st.integers(0, 30)
plans = st.sampled_from(["", "pro"])
drafts = st.builds(
    Draft,
    how=st.sampled_from(["new", "new", "new", "new", "again", "twice", "clash", "capture", "capture"]),
    position=positions,
    customer=st.sampled_from([*NAMES, *NAMES, None, "nobody"]),
    event=st.sampled_from([*EVENTS, "chat.reply", "chat.reply"]),
    quantity=st.sampled_from(["1", "1", "1", "0.5", "0.333333", "3", "12", "12"]).map(Decimal),
    age=st.sampled_from([None, None, 0, 30, 3600, 90_000, 4_000_000, -60, -61]),
    overage=st.sampled_from([Overage.REFUSE, Overage.AVAILABLE]),
)

after_a_charge = precondition(lambda machine: machine.company.bills)
after_a_hold = precondition(lambda machine: machine.company.holds)
while_something_will_end = precondition(lambda machine: machine.company.ends())


class Machine(Steps, RuleBasedStateMachine):
    """Draws the steps and what each of them is about."""

    _found = initialize(plans=st.tuples(plans, plans), limit=st.sampled_from([0, 50]))(Steps.found)
    _upsert = rule(name=names, plan=plans)(Steps.upsert)
    _deposit = rule(
        name=owners,
        credits=many,
        amount=amounts,
        lasts=lifetimes,
        priority=priorities,
        is_gift=st.booleans(),
        again=st.booleans(),
    )(Steps.deposit)
    _grant = rule(name=owners, credits=few, lasts=lifetimes, priority=priorities)(Steps.grant)
    _adjust = rule(name=owners, credits=few, sign=st.sampled_from([1, -1]))(Steps.adjust)
    _transfer = rule(giver=owners, credits=few)(Steps.transfer)
    _set_overdraft = rule(name=owners, limit=st.sampled_from([0, 0, 5, 50]))(Steps.set_overdraft)
    _freeze = rule(name=owners, is_frozen=st.sampled_from([True, False, False]))(Steps.freeze)
    _wait = rule(passed=st.sampled_from([1, 59, 61, 900, 3600, 86_400]))(Steps.wait)
    _wait_until_something_ends = while_something_will_end(
        rule(position=positions, early=st.sampled_from([0, 0, 1]))(Steps.wait_until_something_ends)
    )
    _reprice = rule(
        event=st.sampled_from(EVENTS[:2]),
        segment=st.sampled_from(list(Segment)),
        credits=st.sampled_from(["0.000001", "0.333333", "1", "4", "5"]).map(Decimal),
        starts_in=st.sampled_from([-5000, 120, 3600]),
        name=names,
    )(Steps.reprice)
    _charge = rule(batch=st.lists(drafts, min_size=1, max_size=6))(Steps.charge)
    _refund = after_a_charge(rule(position=positions, credits=st.none() | few, again=st.booleans())(Steps.refund))
    _place_hold = rule(name=owners, credits=few, lasts=st.sampled_from([30, 900, 90_000]), again=st.booleans())(Steps.place_hold)
    _place_a_hold_and_forget_it = rule(name=owners, credits=few)(Steps.place_a_hold_and_forget_it)
    _capture = after_a_hold(
        rule(position=positions, quantity=st.sampled_from([1, 1, 3, 20]), overage=st.sampled_from(list(Overage)))(Steps.capture)
    )
    _release = after_a_hold(rule(position=positions)(Steps.release))
    _extend = after_a_hold(rule(position=positions, lasts=st.sampled_from([30, 900, 90_000]))(Steps.extend))
    _sweep_holds = rule()(Steps.sweep_holds)
    _sweep_lots = rule(name=owners)(Steps.sweep_lots)
    _books_agree = invariant()(Steps.the_books_agree)
