"""Running the rules and verifying the seals, all on one snapshot."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from billing.checks.rules import RULES, Rule
from billing.models import LedgerEntry, Seal
from billing.seal_chain import BEGINNING, GENESIS, HOURS, chain
from config.base.database import snapshot

# A broken rule is named with this many of its breaks; their number is told in full.
SHOWN_BREAKS = 100
SEALS = "seals"


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that breaks a rule."""

    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class RuleResult:
    """How one rule fared."""

    rule: str
    statement: str
    examined: int
    breaks: tuple[Break, ...]
    break_count: int


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one check. `head_digest` is the newest seal: as long as it verifies, nothing before it has changed."""

    rules: tuple[RuleResult, ...]
    entry_count: int
    sealed_until: datetime | None
    head_digest: str

    @property
    def is_clean(self) -> bool:
        """No rule is broken."""
        return not any(rule.break_count for rule in self.rules)

    @property
    def breaks(self) -> list[tuple[str, Break]]:
        """(rule, break) of all rules."""
        return [(rule.rule, broken) for rule in self.rules for broken in rule.breaks]


def run() -> Report:
    """Check every rule and every seal as of one moment; reads only."""
    with snapshot():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '30min'")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '30min'")
        head = Seal.objects.order_by("-starts_at").first()
        return Report(
            rules=(*map(_check, RULES), _check_seals()),
            entry_count=LedgerEntry.objects.count(),
            sealed_until=head.ends_at if head else None,
            head_digest=head.digest if head else "",
        )


def _check(rule: Rule) -> RuleResult:
    with connection.cursor() as cursor:
        cursor.execute(rule.examined)
        examined = cursor.fetchone()[0]
        cursor.execute(rule.breaks)
        breaks = tuple(Break(*row) for row in cursor.fetchmany(SHOWN_BREAKS))
        return RuleResult(rule.name, rule.statement, examined, breaks, len(breaks) + len(cursor.fetchall()))


def _check_seals() -> RuleResult:
    """Recompute the chain over all sealed hours and compare."""
    seals = list(Seal.objects.order_by("starts_at"))
    until = seals[-1].ends_at if seals else BEGINNING
    with connection.cursor() as cursor:
        cursor.execute(HOURS, [BEGINNING, until])
        hours = {row[0]: row[1:] for row in cursor.fetchall()}
    breaks = []
    previous = GENESIS
    for seal in seals:
        name = f"hour {seal.starts_at:%Y-%m-%d %H:%M}"
        count, credits, value, digest = hours.pop(seal.starts_at, (0, 0, 0, ""))
        if (count, credits, value) != (seal.entry_count, seal.credits, seal.value):
            told = f"sealed {seal.entry_count} entries of {seal.credits} credits, found {count} of {credits}"
            breaks.append(Break(name, told))
        elif seal.ends_at != seal.starts_at + timedelta(hours=1):
            breaks.append(Break(name, f"the seal says that it ends at {seal.ends_at}"))
        elif seal.previous_digest != previous or seal.digest != chain(previous, seal.starts_at, digest):
            breaks.append(Break(name, "an entry of this hour, or a seal before it, has been changed"))
        previous = seal.digest
    breaks += [Break(f"hour {at:%Y-%m-%d %H:%M}", "entries in an hour before the last seal that has no seal") for at in hours]
    statement = "The hourly chain of seals matches the entries: nothing was changed, added or removed behind the triggers' back."
    return RuleResult(SEALS, statement, len(seals), tuple(breaks[:SHOWN_BREAKS]), len(breaks))
