"""Administration: the people, their roles, failed sign-ins and scheduled tasks, in the manners of this house.

The libraries' own pages are taken down first: they know neither the look nor the rules.
"""

from axes import admin as _axes  # noqa: F401 - registers its pages, which are then replaced
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth import admin as _auth  # noqa: F401
from django.contrib.auth.models import Group, User
from django_celery_beat import admin as _beat  # noqa: F401
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule

_SIGN_INS = (AccessAttempt, AccessFailureLog, AccessLog)
_SCHEDULE = (PeriodicTask, ClockedSchedule, CrontabSchedule, IntervalSchedule, SolarSchedule)
for model in (User, Group, *_SIGN_INS, *_SCHEDULE):
    if admin.site.is_registered(model):  # the log of failures is there only where it is switched on
        admin.site.unregister(model)

from config.admin import schedule, sign_ins, users  # noqa: E402, F401 - after the libraries' pages are gone
