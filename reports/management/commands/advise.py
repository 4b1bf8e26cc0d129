"""`python manage.py advise [RULE ...]`: let the Pricing Advisor look at prices now; exit 1 if it could not look at one."""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from config.base.exact import plain
from config.base.figures import percent
from pricing.advisor.recommendation import Recommendation
from pricing.models import PriceRule
from pricing.queries import workspace
from reports import advice
from reports.advice import Advice


class Command(BaseCommand):
    """Edge of `advice.advise_all`: reads the clock, prints what it says about each rule."""

    help = "Recommend prices from recorded usage, and open a proposal where one should change. Again opens nothing twice."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "rules", nargs="*", metavar="RULE", help="such as chat.reply/default, or chat.reply for all of its; default: all"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what it would propose, and propose nothing")
        parser.add_argument(
            "--as-of", type=date.fromisoformat, metavar="DATE", help="what it would have said that morning; proposes nothing"
        )
        parser.add_argument("--json", action="store_true", help="print the recommendations as JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        """Look at one rule after the other."""
        now = _morning(options["as_of"]) if options["as_of"] else timezone.now()
        is_dry = options["dry_run"] or options["as_of"] is not None
        given = []
        for one in advice.advise_all(_chosen(options["rules"], now=now), now=now, is_dry=is_dry):
            given.append(one)
            if not options["json"]:
                self.stdout.write("\n".join(_as_lines(one)))
        if options["json"]:
            self.stdout.write(json.dumps([one.as_json() for one in given], indent=2))
        elif not given:
            self.stdout.write("No price is in force.")
        if any(one.error for one in given):
            raise SystemExit(1)


def _morning(day: date) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(workspace.load().time_zone))


def _chosen(names: Sequence[str], *, now: datetime) -> list[PriceRule]:
    rules = advice.rules_in_force(now=now)
    for name in names:
        if not any(name in {str(rule), rule.event_type.name} for rule in rules):
            known = ", ".join(map(str, rules)) or "none"
            raise CommandError(f"There is no rule {name} with a price in force. There are: {known}.")
    return [rule for rule in rules if not names or {str(rule), rule.event_type.name} & set(names)]


def _as_lines(given: Advice) -> Iterator[str]:
    if given.recommendation is None:
        yield f"{given.rule}: FAILED"
        yield f"    {given.error}"
    else:
        said = given.recommendation
        yield f"{given.rule} v{given.version}: {said.verdict.upper()}. {said.headline}"
        yield f"    margin      {_margins(said)}"
        if said.drift:
            yield f"    drift       {plain(said.drift.total)} {said.drift.currency} per event"
            yield from (f"      {part.name:<15} {plain(part.amount):>16}  {part.sentence}" for part in said.drift.parts if part.amount)
        yield from (f"    diagnosis   {finding.sentence} {finding.remedy}" for finding in said.diagnosis)
        yield from (f"    guardrail   {rail.name}: {rail.sentence}" for rail in said.guardrails if rail.clamped)
        yield f"    outcome     {given.outcome}"


def _margins(said: Recommendation) -> str:
    margin = said.margin
    parts = (("at the baseline", margin.baseline), ("now", margin.current), ("wanted", margin.target), ("suggested", margin.suggested))
    return ", ".join(f"{percent(share)} {words}" for words, share in parts if share is not None)
