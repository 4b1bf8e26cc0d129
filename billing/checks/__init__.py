"""The ledger check: a proof of the money rules, from one consistent snapshot.

Every rule is a query that returns what breaks it; a rule without rows holds. The database refuses most of these breaks
when they are written; the check proves that it did, and sees what no constraint can.
"""

from billing.checks.report import Break, Report, RuleResult, run

__all__ = ["Break", "Report", "RuleResult", "run"]
