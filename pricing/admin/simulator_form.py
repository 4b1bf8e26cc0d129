"""What the simulator is asked: assumptions about one action. All of it is in the address, so that it can be passed on."""

from decimal import Decimal
from typing import Any, Final

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from config.base.exact import CONTEXT, CREDIT_PLACES, CREDIT_STEP, MONEY_PLACES, MONEY_STEP, ZERO, Rounding, plain, round_to
from pricing.admin.fields import PlainDecimal
from pricing.models import PriceRule, Workspace
from pricing.queries import simulator
from pricing.units import UnitKind, Usage, check
from pricing.usage_bodies import LONGEST_TEXT, Reading, UnreadableBodyError, read_text

HUNDRED: Final = Decimal(100)
ONE: Final = Decimal(1)
SHARE_PLACES: Final = 8  # of a percentage: fine enough that a count of tokens comes back from its share
_SHARE_STEP: Final = ONE.scaleb(-SHARE_PLACES)
TYPED_PRICES: Final = {
    "input_price": UnitKind.INPUT,
    "output_price": UnitKind.OUTPUT,
    "cache_read_price": UnitKind.CACHE_READ,
    "cache_write_price": UnitKind.CACHE_WRITE,
    "cache_write_1h_price": UnitKind.CACHE_WRITE_1H,
}
_MOST_TOKENS: Final = 10**9
_TOO_LARGE: Final = {
    "input_tokens": ("audio_input_tokens", "The audio and the cache are parts of the input, and together more than it."),
    "output_tokens": ("reasoning_tokens", "Reasoning and audio are parts of the output, and together more than it."),
}


def _text_input(name: str, **attrs: Any) -> UnfoldAdminTextInputWidget:
    # What is said at the field changes while one types; the field names the places once.
    return UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "aria-describedby": f"error-{name} help-{name}", **attrs})


class _Figure(PlainDecimal):
    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(**{"widget": _text_input(name, inputmode="decimal"), "min_value": 0, "max_digits": 20} | options)


class _Price(_Figure):
    """Money for a million units; empty takes the catalogue's."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, required=False, decimal_places=MONEY_PLACES, max_value=10**6, **options)


class _Percent(_Figure):
    """A share; empty is none of it, unless it must be typed."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **{"required": False, "decimal_places": SHARE_PLACES, "max_value": 100} | options)

    def clean(self, value: Any) -> Decimal:
        return CONTEXT.divide(super().clean(value) or ZERO, HUNDRED)


class _Count(forms.IntegerField):
    """So many of something; empty is none."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(required=False, widget=_text_input(name, inputmode="numeric"), min_value=0, max_value=_MOST_TOKENS, **options)

    def clean(self, value: Any) -> int:
        return super().clean(value) or 0


class SimulatorForm(forms.Form):
    """The assumptions: one call, how many calls an action makes, what we want to earn."""

    model = forms.CharField(
        required=False,
        max_length=300,
        widget=_text_input("model", list="priced-models", placeholder="Type to search"),
        help_text="At the standard rates of the catalogue. Or type prices.",
    )
    input_price = _Price("input_price", label="Input price")
    output_price = _Price("output_price", label="Output price")
    cache_read_price = _Price("cache_read_price", label="Cache read price")
    cache_write_price = _Price("cache_write_price", label="Cache write price")
    cache_write_1h_price = _Price("cache_write_1h_price", label="One-hour cache write price")

    input_tokens = _Count("input_tokens", label="Input tokens", help_text="Of one call, cached ones included.")
    output_tokens = _Count("output_tokens", label="Output tokens", help_text="Of one call, reasoning included.")
    cache_share = _Percent("cache_share", label="Cache share, %", help_text="Of the input, read from the provider's cache.")
    cache_write_share = _Percent("cache_write_share", label="Cache write share, %", help_text="Of the input, written to it.")
    cache_write_1h_share = _Percent("cache_write_1h_share", label="Kept for an hour, %", help_text="Of the cache writes.")
    reasoning_tokens = _Count("reasoning_tokens", label="Reasoning tokens", help_text="Of the output.")
    audio_input_tokens = _Count("audio_input_tokens", label="Audio input tokens", help_text="Of the input.")
    audio_output_tokens = _Count("audio_output_tokens", label="Audio output tokens", help_text="Of the output.")
    images = _Count("images", label="Images")

    calls = _Figure("calls", label="Calls per action", decimal_places=4, max_value=10_000, help_text="An average may have decimals.")
    retries = _Percent("retries", label="Retries, %", max_value=1000, help_text="Of the calls, made once more.")

    target_margin = _Percent(
        "target_margin",
        label="Target margin, %",
        required=True,
        max_value=Decimal("99.99"),
        help_text="Of what users pay, left after cost.",
    )
    credit_value = _Figure("credit_value", decimal_places=MONEY_PLACES, min_value=MONEY_STEP, help_text="What one credit is worth.")
    step = _Figure(
        "step",
        label="Rounded up to steps of",
        required=False,
        decimal_places=CREDIT_PLACES,
        min_value=CREDIT_STEP,
        help_text="Credits. Empty: as the rule rounds, else whole credits.",
    )
    rule = forms.CharField(
        label="Compare with a price rule",
        required=False,
        max_length=400,
        widget=_text_input("rule", list="known-rules", placeholder="chat.reply/default"),
        help_text="What it charges now, and where to propose another price.",
    )

    ACTION: Final = ("calls", "retries")
    USAGE: Final = ("input_tokens", "output_tokens", "cache_share")
    COUNTS: Final = ("reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "images")
    MORE: Final = ("cache_write_share", "cache_write_1h_share", *COUNTS)
    PRICING: Final = ("target_margin", "credit_value", "step", "rule")
    COST: Final = ("model", *TYPED_PRICES, *USAGE, *MORE, *ACTION)

    found_rule: PriceRule | None = None

    def clean_rule(self) -> str:
        name = str(self.cleaned_data["rule"])
        self.found_rule = simulator.rule_named(name) if name else None
        if name and self.found_rule is None:
            raise forms.ValidationError(f"There is no price rule “{name[:80]}”. Choose one of the list, or leave it empty.")
        return name

    def clean(self) -> dict[str, Any]:
        """Put what does not fit together at the field that can mend it."""
        typed = self.cleaned_data
        if typed.get("calls") == 0:
            self.add_error("calls", "An action makes at least a part of a call.")
        if typed.keys() >= {*self.USAGE, *self.MORE}:
            usage = self.usage()
            if not (usage.input_tokens or usage.output_tokens or usage.images):
                self.add_error("input_tokens", "An action must consume something: type its tokens.")
            if typed["cache_share"] + typed["cache_write_share"] > 1:
                self.add_error("cache_write_share", "Reads and writes of the cache are more than the whole input.")
            for whole, _ in check(usage):
                self.add_error(*_TOO_LARGE[whole])
        return typed

    def usage(self) -> Usage:
        """Return one call; shares become whole tokens."""
        typed = self.cleaned_data
        given = typed["input_tokens"]
        read = _tokens(given, typed["cache_share"])
        written = min(_tokens(given, typed["cache_write_share"]), given - read)
        return Usage(
            input_tokens=given,
            output_tokens=typed["output_tokens"],
            cache_read_tokens=read,
            cache_write_tokens=written,
            cache_write_1h_tokens=_tokens(written, typed["cache_write_1h_share"]),
            reasoning_tokens=typed["reasoning_tokens"],
            audio_input_tokens=typed["audio_input_tokens"],
            audio_output_tokens=typed["audio_output_tokens"],
            images=typed["images"],
        )


class PasteForm(forms.Form):
    """A provider's answer, or its usage part; it is read and not kept."""

    body = forms.CharField(
        label="Answer or usage",
        max_length=LONGEST_TEXT,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 5, "spellcheck": "false", "aria-describedby": "error-body help-body"}),
        help_text="JSON as the provider sent it: OpenAI, Anthropic, Gemini, Bedrock, Cohere and who speaks like them. It is not kept.",
    )

    reading: Reading | None = None

    def clean_body(self) -> str:
        text = str(self.cleaned_data["body"])
        try:
            self.reading = read_text(text)
        except UnreadableBodyError as error:
            raise forms.ValidationError(str(error)) from error
        return text


def at_first(workspace: Workspace) -> dict[str, str]:
    """Return what the form says before anything is typed: a chat reply, and what the workspace has decided."""
    return {
        "input_tokens": "847",
        "output_tokens": "312",
        "calls": "1",
        "target_margin": plain(CONTEXT.multiply(workspace.target_margin, HUNDRED)),
        "credit_value": plain(workspace.credit_value),
    }


def as_typed(usage: Usage) -> dict[str, str]:
    """Return what to type to get `usage`."""
    counts = {name: getattr(usage, name) for name in ("input_tokens", "output_tokens", *SimulatorForm.COUNTS)}
    shares = {
        "cache_share": (usage.cache_read_tokens, usage.input_tokens),
        "cache_write_share": (usage.cache_write_tokens, usage.input_tokens),
        "cache_write_1h_share": (usage.cache_write_1h_tokens, usage.cache_write_tokens),
    }
    typed = {name: str(count) if count else "" for name, count in counts.items()}
    return typed | {name: plain(_share(part, whole)) if part else "" for name, (part, whole) in shares.items()}


def _tokens(whole: int, share: Decimal) -> int:
    return int(round_to(CONTEXT.multiply(Decimal(whole), share), ONE, Rounding.HALF_UP))


def _share(part: int, whole: int) -> Decimal:
    return round_to(CONTEXT.divide(CONTEXT.multiply(Decimal(part), HUNDRED), Decimal(whole)), _SHARE_STEP, Rounding.HALF_UP)
