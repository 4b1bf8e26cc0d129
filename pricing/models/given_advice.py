"""What the Advisor said last about a price, kept where pages can read it: most of what it says opens no proposal.

One row per rule, written with each look that it takes; what came before is told by its proposals.
"""

from django.db import models
from django.db.models import Q

from pricing.advisor.recommendation import Verdict
from pricing.models.price_rule import PriceRule
from pricing.models.proposal import Proposal

_VERDICTS = [(verdict.value, verdict.value) for verdict in Verdict]


class GivenAdvice(models.Model):
    """The Advisor's latest word on one rule."""

    rule = models.OneToOneField(PriceRule, on_delete=models.PROTECT, primary_key=True, related_name="advice")
    version_number = models.PositiveIntegerField(help_text="The price that it is about.")
    verdict = models.CharField(max_length=8, choices=_VERDICTS)
    because = models.TextField(blank=True, default="", help_text="Why, in a few words.")
    headline = models.TextField()
    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, null=True, blank=True, related_name="+", help_text="What came of it.")
    not_proposed = models.TextField(blank=True, default="", help_text="Why no proposal came of a price that it would change.")
    given_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "given advice"
        default_permissions = ()  # it is seen on the pages of its rule
        constraints = (
            models.CheckConstraint(name="given_advice_verdict_known", condition=Q(verdict__in=[verdict.value for verdict in Verdict])),
            models.CheckConstraint(name="given_advice_has_a_headline", condition=~Q(headline="")),
            models.CheckConstraint(name="given_advice_version_positive", condition=Q(version_number__gte=1)),
            # A change of the price is proposed, or it says why not; nothing else is.
            models.CheckConstraint(
                name="given_advice_says_what_came_of_it",
                condition=Q(verdict__in=("raise", "lower")) & (Q(proposal=None) ^ Q(not_proposed=""))
                | ~Q(verdict__in=("raise", "lower")) & Q(proposal=None, not_proposed=""),
            ),
        )

    def __str__(self) -> str:
        return f"Advice on {self.rule}: {self.verdict}"
