"""The people of the demo company, and what they answer for: teams, cost centres, projects, keys."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User

from billing.events import Caller
from billing.models import CostCenter, Environment, Project, Scope, Team
from billing.services import keys

# user name, first and last name, the group of the role (joined if there is one)
USERS = (
    ("finance", "Fiona", "Marsh", "Finance"),
    ("product", "Pavel", "Orlik", "Product manager"),
    ("support", "Sunniva", "Dahl", "Support"),
    ("engineer", "Enzo", "Keller", "Engineer"),
    ("admin", "Ada", "Brandt", "Administrator"),
)
TEAMS = {"Customer care": "support", "Creative tools": "product", "Platform": "engineer", "Knowledge": "finance"}
COST_CENTERS = {"CC-4100": "Support", "CC-4200": "Creative", "CC-4300": "Platform", "CC-4400": "Knowledge"}
_ALL = tuple(Environment)
# key, name, team, cost centre, environments that have a key
PROJECTS = (
    ("support-chat", "Support chat (demo)", "Customer care", "CC-4100", (Environment.PRODUCTION, Environment.STAGING)),
    ("image-studio", "Image studio (demo)", "Creative tools", "CC-4200", (Environment.PRODUCTION, Environment.DEVELOPMENT)),
    ("agent-platform", "Agent platform (demo)", "Platform", "CC-4300", _ALL),
    ("search", "Search (demo)", "Knowledge", "CC-4400", (Environment.PRODUCTION, Environment.STAGING)),
    ("internal-ops", "Internal ops (demo)", "Platform", "CC-4300", (Environment.PRODUCTION,)),
)


@dataclass(frozen=True, slots=True)
class Staff:
    """The users by name, and those whose password was set now."""

    users: dict[str, User]
    new: tuple[str, ...]


def hire(*, password: str, now: datetime) -> Staff:
    """Make a user for each role; one that exists keeps its password and rights."""
    users, new = {}, []
    hashed = make_password(password)  # once: making it slow is its purpose
    for name, first, last, role in USERS:
        user, is_new = User.objects.get_or_create(
            username=name,
            defaults={
                "first_name": first,
                "last_name": f"{last} (demo)",
                "email": f"{name}@example.com",
                "password": hashed,
                "is_staff": True,
                "is_superuser": name == "admin",
                "date_joined": now,
            },
        )
        if is_new:
            user.groups.set(Group.objects.filter(name=role))
            new.append(name)
        users[name] = user
    return Staff(users, tuple(new))


def open_projects(users: dict[str, User], *, now: datetime) -> dict[tuple[str, str], Caller]:
    """Make teams, cost centres, projects and keys; return who calls, by project key and environment."""
    teams = {name: Team.objects.create(name=f"{name} (demo)", budget_owner=users[owner]) for name, owner in TEAMS.items()}
    centers = {code: CostCenter.objects.create(code=code, name=f"{name} (demo)") for code, name in COST_CENTERS.items()}
    callers = {}
    for key, name, team, center, environments in PROJECTS:
        project = Project.objects.create(key=key, name=name, team=teams[team], cost_center=centers[center], is_demo=True)
        for environment in environments:
            issued = keys.issue(
                project=project,
                name=f"{name.removesuffix(' (demo)')} backend",
                environment=environment,
                scopes=[Scope.METER, Scope.WALLETS],
                now=now,
                created_by=users["engineer"],
                expires_at=None if environment == Environment.PRODUCTION else now + timedelta(days=365),
            )
            callers[key, environment.value] = keys.caller_of(issued.key)
    return callers
