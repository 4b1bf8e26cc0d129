"""Cost usage again by the catalogue as it is now; what changed is written down as adjustments.

python manage.py rerate --since 2026-10-01 --model my-model --dry-run
python manage.py rerate --since 2026-10-01 --model my-model --reason "Rates of October added"
"""

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from billing.models import Basis, Rerating
from billing.services import rerating, unpriced
from billing.services.rerating import RerateRefusedError, Scope
from config.base.exact import plain

_USUAL_PERIOD = timedelta(days=30)


def moment(text: str) -> datetime:
    """Read a day (its start) or a moment, UTC unless it names a zone."""
    try:
        at = parse_datetime(text)
    except ValueError:
        at = None
    if at is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write 2026-10-01 or 2026-10-01T12:00.")
    return at if timezone.is_aware(at) else at.replace(tzinfo=UTC)


class Command(BaseCommand):
    help = "Cost usage again by the catalogue of provider rates as it is now."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--since", type=moment, help="records from then on; 30 days ago unless said otherwise")
        parser.add_argument("--until", type=moment, help="records before then; now unless said otherwise")
        parser.add_argument("--provider", help="of this provider only, as apps report it")
        parser.add_argument("--model", help="of this model only, as apps report it")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--rate", type=int, action="append", default=[], help="records costed by this rate; may be repeated")
        which.add_argument("--all", action="store_true", help="every record costed by the catalogue, not the unpriced only")
        parser.add_argument("--reason", default="", help="why; kept with the re-rating")
        parser.add_argument("--dry-run", action="store_true", help="say what would be found, and write nothing")
        parser.add_argument("--resume", type=int, metavar="ID", help="go on with a re-rating that was interrupted")

    def handle(self, **options: Any) -> None:
        if options["resume"]:
            if not Rerating.objects.filter(pk=options["resume"]).exists():
                raise CommandError(f"There is no re-rating {options['resume']}.")
            self._run(options["resume"])
            return
        now = timezone.now()
        basis = Basis.RATES if options["rate"] else Basis.ALL if options["all"] else Basis.UNPRICED
        since, until = options["since"] or now - _USUAL_PERIOD, options["until"] or now
        scope = Scope(since, until, basis, options["provider"], options["model"], tuple(options["rate"]))
        if options["dry_run"]:
            self._preview(scope)
            return
        try:
            row = rerating.request(scope=scope, reason=options["reason"], actor="system:rerate", now=now)
        except RerateRefusedError as refusal:
            raise CommandError(refusal.detail) from refusal
        self._run(row.pk)

    def _run(self, rerating_id: int) -> None:
        row = rerating.run(rerating_id=rerating_id, clock=timezone.now, told=self._tell)
        unpriced.count(now=timezone.now())
        self.stdout.write(
            f"Re-rating {row.pk}: {row.examined:,} records, {row.adjusted:,} adjusted, {row.still_unpriced:,} still unpriced."
        )
        for model in row.by_model:
            name = "/".join(part for part in (model["provider"], model["model"]) if part) or "no model named"
            self.stdout.write(f"  {name}: {model['before']} -> {model['after']} {model['currency']}, {model['records']:,} records")

    def _tell(self, row: Rerating) -> None:
        self.stderr.write(f"{row.position_at:%Y-%m-%d %H:%M}: {row.examined:,} records, {row.adjusted:,} adjusted")

    def _preview(self, scope: Scope) -> None:
        found = rerating.preview(scope=scope)
        more = "more than " if found.is_capped else ""
        about = "" if found.is_exact else f", estimated from {found.looked_at:,}"
        self.stdout.write(f"{more}{found.records:,} records{about}: {found.adjusted:,} would change, {found.unpriced:,} stay unpriced.")
        for currency, amount in found.differences.items():
            self.stdout.write(f"  {plain(amount)} {currency}")
        self.stdout.write("Nothing was written.")
