"""What Hypothesis makes up for the Advisor: windows, prices and policies of every shape that the database lets through."""

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from config.base.exact import Rounding
from pricing.advisor.evidence import REPORTED, Consumed, Evidence, ModelUse, Window
from pricing.advisor.policy import Policy
from pricing.definition import Definition
from pricing.price import Component, Tier
from pricing.units import UnitKind
from tests.pricing.advisor.evidence import POLICY, a_window, an_evidence

# Fractions of many models take their time on a busy machine.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

costs = st.decimals(0, 10**6, places=12)
quantities = st.one_of(st.integers(0, 10**12).map(Decimal), st.decimals(0, 10**6, places=6))
shares = st.decimals(0, Decimal("0.99"), places=4)
routes = st.tuples(
    st.sampled_from(["acme", "zeta"]), st.sampled_from(["small", "large", ""]), st.sampled_from(["standard", "flex"]), st.booleans()
)
units = st.dictionaries(st.sampled_from([*map(str, UnitKind), REPORTED]), st.builds(Consumed, quantities, costs), max_size=4)
uses = st.dictionaries(routes, st.tuples(st.integers(0, 10**9), units), max_size=4)


@st.composite
def windows(draw: st.DrawFn, *, most_unpriced: int = 50) -> Window:
    """Draw a window with at least one event of known cost."""
    models = [ModelUse(*route, requests, used) for route, (requests, used) in sorted(draw(uses).items())]
    unpriced = draw(st.integers(0, most_unpriced))
    counts: dict[str, Any] = {name: draw(st.integers(0, 1000)) for name in ("failed", "retries", "fallbacks")}
    credits = draw(st.decimals(0, 10**12, places=6))
    value = draw(st.decimals(0, 10**12, places=12)) if credits else Decimal(0)
    return a_window(*models, events=unpriced + draw(st.integers(1, 10**6)), unpriced=unpriced, credits=credits, value=value, **counts)


figures = st.one_of(st.integers(0, 5000).map(Decimal), st.decimals(0, 50, places=6), st.decimals(0, 10**14 - 1, places=6))
steps = st.sampled_from([Decimal(step) for step in ("0.000001", "0.01", "0.25", "0.5", "1", "5", "0.3")])


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """Draw a price that could be published."""
    step = draw(steps)
    kinds = draw(st.lists(st.sampled_from([UnitKind.INPUT, UnitKind.OUTPUT, UnitKind.IMAGE]), unique=True, max_size=3))
    return Definition(
        credits_per_event=draw(figures),
        components=tuple(Component(kind, draw(figures), draw(st.sampled_from([1, 1000]))) for kind in kinds),
        tiers=tuple(Tier(Decimal(10 * (i + 1)), draw(figures)) for i in range(draw(st.integers(0, 2)))),
        minimum=step * draw(st.integers(0, 40)),
        rounding_step=step,
        rounding_mode=draw(st.sampled_from(Rounding)),
    )


policies = st.builds(
    Policy,
    target_margin=shares,
    tolerance=st.sampled_from([Decimal(0), Decimal("0.02")]),
    max_step=st.sampled_from([Decimal(step) for step in ("0.0001", "0.1", "0.25", "1")]),
    cooldown_days=st.just(14),
    minimum_events=st.sampled_from([1, 200]),
    max_unpriced=st.just(Decimal("0.9")),
    credit_value=st.just(POLICY.credit_value),
)


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    """Draw evidence about any price, with a baseline or without."""
    return an_evidence(
        draw(windows()),
        draw(st.none() | windows()),
        definition=draw(definitions()).as_json(),
    )
