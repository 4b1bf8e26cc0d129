"""Who the embedded PostgreSQL runs as. It refuses root, so root lends it an account.

That account must reach the wheel's programs and its data wherever they are, perhaps below a folder that only root may
enter. Opening that folder would be worse than what it solves, so the process keeps one capability instead: to pass by
file permissions (`dac_override`). Modes and owners of folders that we did not create stay as they are.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import EmbeddedError

INSTEAD = "Run as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own."


@dataclass(frozen=True, slots=True)
class Account:
    """A user to run as, and the command prefix that becomes it (empty: stay who we are)."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()


def postgres_account(data: Path) -> Account:
    """The account of the data folder if there is one, else `postgres`, else `nobody`. Raises EmbeddedError."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if data.exists():
        return _borrowed(*_owner(data))
    user = _first_known("postgres", "nobody")
    return _borrowed(user.pw_uid, user.pw_gid)


def _owner(data: Path) -> tuple[int, int]:
    found = data.stat()
    if found.st_uid == 0:
        raise EmbeddedError(f"{data} belongs to root, as which PostgreSQL does not run: chown -R nobody {data}")
    return found.st_uid, found.st_gid


def _first_known(*names: str) -> pwd.struct_passwd:
    for name in names:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedError(f"PostgreSQL does not run as root, and there is no account named {' or '.join(names)}. {INSTEAD}")


def _borrowed(uid: int, gid: int) -> Account:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise EmbeddedError(f"PostgreSQL does not run as root, and setpriv (util-linux) is missing. {INSTEAD}")
    prefix = (
        *(setpriv, "--reuid", str(uid), "--regid", str(gid), "--clear-groups"),
        *("--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"),
        # Else access(2), by which PostgreSQL looks for its own programs, ignores the capability.
        *("--securebits", "+no_setuid_fixup"),
    )
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and root may not lend it another account here ({tried.stderr.strip()}). {INSTEAD}"
        )
    return Account(uid, gid, prefix)
