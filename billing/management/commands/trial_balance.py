"""`trial_balance`: what each account stands at, entries, fees and payouts together."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.queries.trial_balance import TrialBalance, trial_balance
from config.base.exact import ZERO, plain
from pricing.queries import workspace


class Command(BaseCommand):
    help = "Print the trial balance of all that was recorded so far, or before a moment."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--until", type=_moment, help="2026-04-01, or with a time: midnight and times are the workspace's; default: all so far"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        until = options["until"] or timezone.now()
        zone = ZoneInfo(workspace.load().time_zone)
        self.stdout.write(_as_text(trial_balance(until=until if until.tzinfo else until.replace(tzinfo=zone)), zone))


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no date: write it as 2026-04-01 or 2026-04-01T09:00.") from error


def _as_text(told: TrialBalance, zone: ZoneInfo) -> str:
    lines = [f"{name:<22}{_figure(max(amount, ZERO))}{_figure(max(-amount, ZERO))}" for name, amount in told.balances.items()]
    return "\n".join(
        [
            f"Before {told.until.astimezone(zone):%Y-%m-%d %H:%M %Z}, in {told.currency}",
            f"{'account':<22}{'debit':>22}{'credit':>22}",
            *lines,
            f"{'in all':<22}{_figure(told.debits)}{_figure(told.credits)}",
            f"Of payments clearing, Stripe owes {plain(told.at_stripe)} {told.currency}; the rest was paid on other rails.",
            *([f"{told.foreign} fees and payouts in other currencies are in no account."] if told.foreign else []),
        ]
    )


def _figure(amount: Decimal) -> str:
    return f"{plain(amount) if amount else '':>22}"
