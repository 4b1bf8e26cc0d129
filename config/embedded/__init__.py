"""A real PostgreSQL and a real Redis from wheels, for whoever has not set `DATABASE_URL` or `REDIS_URL`.

Both live under one folder (`var/`) and listen on Unix sockets only. This module knows their addresses and nothing else:
settings import it, so it is cheap, needs no Django, and starts nothing. `python manage.py up` runs the servers
(`postgres.py`, `redis.py`).
"""

import hashlib
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

DATABASE = "meterdesk"
ROLE = "meterdesk"

# A socket's whole path may have 107 bytes on Linux and 103 on macOS; `/.s.PGSQL.5432.lock` is the longest name we add.
MAX_SOCKET_DIR = 103 - len("/.s.PGSQL.5432.lock")
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


class EmbeddedError(Exception):
    """An embedded server cannot run here. The message says why and what to do."""


def secret_key(var_dir: Path) -> str:
    """Read the key that signs sessions, or create it. When two processes start at once the first one's key wins."""
    path = var_dir / "secret_key"
    with suppress(FileNotFoundError):
        return path.read_text()
    var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = var_dir / f".secret_key.{os.getpid()}.{secrets.token_hex(4)}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(50))
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    return path.read_text()


def socket_dir(var_dir: Path) -> Path:
    """Where the sockets are: `var/run`, or a short folder in `/tmp` when that does not fit a socket address or a URL.

    Every process must find the same answer, so `/tmp` is written out: `TMPDIR` differs between terminals.
    """
    var_dir = var_dir.resolve()
    inside = var_dir / "run"
    if len(os.fsencode(inside)) <= MAX_SOCKET_DIR and PLAIN_PATH.fullmatch(str(inside)):
        return inside
    return Path("/tmp") / f"meterdesk-{hashlib.sha256(os.fsencode(var_dir)).hexdigest()[:16]}"  # noqa: S108 - see above


def make_socket_dir(var_dir: Path) -> Path:
    """Create the private socket folder, and `var` itself. Another user's folder at a guessable name is refused."""
    var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = socket_dir(var_dir)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if path.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise EmbeddedError(f"{path} must be a folder of yours that no one else may enter: remove it and start again.")
    return path


def database_url(var_dir: Path) -> str:
    """Address of the embedded PostgreSQL; its host is the socket folder, percent-encoded."""
    return f"postgresql://{ROLE}@{str(socket_dir(var_dir)).replace('/', '%2F')}/{DATABASE}"


def redis_url(var_dir: Path) -> str:
    """Address of the embedded Redis."""
    return f"unix://{socket_dir(var_dir)}/redis.sock"


def celery_url(redis_url: str) -> str:
    """The same Redis as Celery's transport spells it: a Unix socket has a scheme of its own there."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    number = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={number}"
