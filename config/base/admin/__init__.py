"""What every admin page of this house builds on: read-only records, lists at any depth, safe history, dialogs.

| class | for |
|---|---|
| `BaseAdmin` | common manners: no facets, no bulk actions, POST only where something may change |
| `ReadOnlyAdmin` | records that nobody edits: entries, usage, payments |
| `KeysetAdmin` | lists of any length, newest first, with the next page as fast as the first |
| `ExportedAdmin` | such a list, with a streamed CSV and a workbook of what it shows, in the columns that are chosen |
| `TrackedAdmin` | rows that operators edit: every edit asks for a reason and shows in the history |
| `dialog` | a button that opens a form and makes one domain call |
"""

from config.base.admin.dialogs import Choice, CreditsField, Dialog, Led, Moment, MoneyField, ReasonDialog, Shown, Text, dialog
from config.base.admin.exports import ExportedAdmin, ExportForm, too_long_for_a_sheet
from config.base.admin.filters import DayRangeFilter, MomentRangeFilter
from config.base.admin.history import ReasonForm, TrackedAdmin
from config.base.admin.keyset import KeysetAdmin
from config.base.admin.records import BaseAdmin, ReadOnlyAdmin
from config.base.admin.show import badge, credits_, lines, link, moment, money, names, share, short_money, table, yes_no

__all__ = [
    "BaseAdmin",
    "Choice",
    "CreditsField",
    "DayRangeFilter",
    "Dialog",
    "ExportForm",
    "ExportedAdmin",
    "KeysetAdmin",
    "Led",
    "Moment",
    "MomentRangeFilter",
    "MoneyField",
    "ReadOnlyAdmin",
    "ReasonDialog",
    "ReasonForm",
    "Shown",
    "Text",
    "TrackedAdmin",
    "badge",
    "credits_",
    "dialog",
    "lines",
    "link",
    "moment",
    "money",
    "names",
    "share",
    "short_money",
    "table",
    "too_long_for_a_sheet",
    "yes_no",
]
