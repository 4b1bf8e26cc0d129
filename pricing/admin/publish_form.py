"""The form of a new price, published or proposed: figures, rows for components and tiers, when it starts and why.

The form reads what was typed; whether that is a price is for `pricing.definition` and `pricing.services.prices` to say.
What they refuse is put at the field where it can be mended, and nothing typed is lost.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Self

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from config.base.admin import Moment
from config.base.exact import CREDIT_STEP, ZERO, Rounding
from pricing.admin.fields import PlainDecimal
from pricing.definition import PER_CHOICES, UNITS, Definition, Problem, check
from pricing.models import PriceRule, PriceVersion
from pricing.price import Component, Tier
from pricing.rating import UNIT_WORDS, explain

SPARE_ROWS: Final = 6
SUGGESTED: Final = ("credits_per_event", "reason")
FIGURES: Final = {"credits_per_event", "minimum", "rounding_step", "rounding_mode"}
_UNIT_CHOICES: Final = [(str(unit), UNIT_WORDS[unit][1]) for unit in UNITS]
_MODE_CHOICES: Final = [
    (Rounding.HALF_UP.value, "to the nearest, half up"),
    (Rounding.UP.value, "up"),
    (Rounding.DOWN.value, "down"),
    (Rounding.HALF_EVEN.value, "to the nearest, half to even"),
]
# One day is enough for people to be told; a first version charges nobody yet and may start at once.
_USUAL_NOTICE: Final = timedelta(days=1)


class CreditsInput(PlainDecimal):
    """A number of credits; how many places it may have is the price's own rule."""

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "class": "desk-figure"})
        super().__init__(**{"widget": widget, "min_value": 0} | options)


class ComponentForm(forms.Form):
    """Credits for so many units of one kind, for all models or for some."""

    unit = forms.ChoiceField(choices=_UNIT_CHOICES, widget=UnfoldAdminSelectWidget)
    credits = CreditsInput()
    per = forms.TypedChoiceField(choices=[(n, f"{n:,}") for n in PER_CHOICES], coerce=int, initial=1000, widget=UnfoldAdminSelectWidget)
    model_class = forms.CharField(required=False, max_length=64, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "large"}))
    models = forms.CharField(
        required=False, max_length=1000, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "claude-opus-*, gpt-5"})
    )

    def has_changed(self) -> bool:
        """A row counts once it has credits or names models; unit and size alone are what the row came with."""
        return any(str(self[name].data or "").strip() for name in ("credits", "model_class", "models"))

    def component(self) -> Component:
        typed = self.cleaned_data
        models = tuple(name.strip() for name in typed["models"].split(",") if name.strip())
        return Component(typed["unit"], typed["credits"], typed["per"], typed["model_class"].strip(), models)


class TierForm(forms.Form):
    """Another price per event for the part of an event's quantity beyond a number."""

    from_quantity = CreditsInput(label="Beyond")
    credits_per_event = CreditsInput(label="Credits per event")

    def has_changed(self) -> bool:
        return any(str(self[name].data or "").strip() for name in ("from_quantity", "credits_per_event"))

    def tier(self) -> Tier:
        return Tier(self.cleaned_data["from_quantity"], self.cleaned_data["credits_per_event"])


class _Rows(forms.BaseFormSet):  # type: ignore[type-arg]
    """Rows of which an emptied one is left out, whether it came with the page or not."""

    def _construct_form(self, i: int, **options: Any) -> Any:
        form = super()._construct_form(i, **options)  # type: ignore[misc] # the stubs leave it out
        form.empty_permitted = True
        form.use_required_attribute = False
        return form

    def filled(self) -> list[Any]:
        """Return the rows that somebody filled in, in order: what the position in a problem counts."""
        return [form for form in self.forms if form.has_changed()]

    @property
    def shown_count(self) -> int:
        """How many rows the page shows at first: those that are in use."""
        in_use = [i for i, form in enumerate(self.forms, start=1) if form.has_changed()]
        return max([self.initial_form_count(), *in_use])


_Components = forms.formset_factory(ComponentForm, formset=_Rows, extra=SPARE_ROWS)
_Tiers = forms.formset_factory(TierForm, formset=_Rows, extra=SPARE_ROWS)


class PublishForm(forms.Form):
    """A whole version: its own figures, `components` and `tiers` as rows of theirs."""

    credits_per_event = CreditsInput(help_text="What one event costs before components, tiers and rounding.")
    minimum = CreditsInput(initial=ZERO, help_text="Credits that an event costs at least.")
    rounding_step = CreditsInput(initial=CREDIT_STEP, help_text="Charges are multiples of it: 1 for whole credits, 0.5 for halves.")
    rounding_mode = forms.ChoiceField(label="Rounded", choices=_MODE_CHOICES, widget=UnfoldAdminSelectWidget)
    effective_from = Moment()
    reason = forms.CharField(max_length=2000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), help_text="Why. It is kept for good.")

    def __init__(self, data: Any = None, *, rule: PriceRule, latest: PriceVersion | None, now: datetime, is_proposal: bool = False) -> None:
        self.rule = rule
        super().__init__(data, initial=_initial(latest, now, is_proposal=is_proposal))
        rows = latest.as_price() if latest else None
        self.components: Any = _Components(
            data, prefix="components", initial=[_component_row(c) for c in rows.components] if rows else None
        )
        self.tiers: Any = _Tiers(data, prefix="tiers", initial=[_tier_row(t) for t in rows.tiers] if rows else None)
        zone = timezone.get_current_timezone_name()
        start = self.fields["effective_from"]
        if is_proposal:
            start.required, self.initial["effective_from"] = False, None
            start.help_text = f"In {zone} time. Empty: whoever approves it decides."
        else:
            start.help_text = f"In {zone} time, at least a minute ahead" + (
                "." if latest or is_proposal else "; a rule's first version may start in the past."
            )

    def is_valid(self) -> bool:
        """Say whether all that was typed is a price that could be published; puts each problem at its field."""
        are_typed_well = [super().is_valid(), self.components.is_valid(), self.tiers.is_valid()]
        problems = check(self.definition()) if all(are_typed_well[1:]) and self.cleaned_data.keys() >= FIGURES else []
        self.show(problems)
        return all(are_typed_well) and not problems

    def prefilled(self, given: Mapping[str, str]) -> Self:
        """Begin with the figure and the reason that another page suggests; what is sent wins over both."""
        self.initial = {**self.initial, **{name: text for name in SUGGESTED if (text := given.get(name))}}
        return self

    def definition(self) -> Definition:
        typed = self.cleaned_data
        return Definition(
            credits_per_event=typed["credits_per_event"],
            components=[form.component() for form in self.components.filled()],
            tiers=[form.tier() for form in self.tiers.filled()],
            minimum=typed["minimum"],
            rounding_step=typed["rounding_step"],
            rounding_mode=Rounding(typed["rounding_mode"]),
        )

    def sentence(self) -> str:
        """Say in plain words what the typed price charges."""
        return explain(self.rule.price(self.definition()))

    def show(self, problems: Iterable[Problem]) -> None:
        """Put each problem, named as `minimum` or `components.0.per`, at the field that it is about."""
        for path, message in problems:
            rows, _, place = path.partition(".")
            if place and rows in {"components", "tiers"}:
                position, _, field = place.partition(".")
                getattr(self, rows).filled()[int(position)].add_error(field, f"This {message}.")
            else:
                self.add_error(path if path in self.fields else None, f"This {message}.")


def _initial(latest: PriceVersion | None, now: datetime, *, is_proposal: bool) -> dict[str, Any]:
    if latest is None:
        return {"effective_from": _full_hour(now + _USUAL_NOTICE if is_proposal else now)}
    return {
        "credits_per_event": latest.credits_per_event,
        "minimum": latest.minimum,
        "rounding_step": latest.rounding_step,
        "rounding_mode": latest.rounding_mode,
        "effective_from": _full_hour(max(now, latest.effective_from) + _USUAL_NOTICE),
    }


def _full_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _component_row(component: Component) -> dict[str, Any]:
    return {
        "unit": str(component.unit),
        "credits": component.credits,
        "per": component.per,
        "model_class": component.model_class,
        "models": ", ".join(component.models),
    }


def _tier_row(tier: Tier) -> dict[str, Any]:
    return {"from_quantity": tier.from_quantity, "credits_per_event": tier.credits_per_event}
