"""What happened: reports over usage and ledger."""

from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "reports"
    verbose_name = "Reports"

    def ready(self) -> None:
        from pricing.admin import asking, panels
        from reports.admin import asking as advisor
        from reports.admin import scorecards

        panels.ON_PROPOSAL.append(scorecards.of_proposal)
        panels.ON_RULE.append(scorecards.of_rule)
        asking.HOW.append(advisor.advise_on)
