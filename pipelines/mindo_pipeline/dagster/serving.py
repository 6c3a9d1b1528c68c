"""`mindo dagster`: Dagster on this machine, over the configured Mindo or over a made-up one.

Dagster itself runs in processes of its own; nothing of it is imported here before it is known to be installed.
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from rich.text import Text

from mindo import ConfigurationError, resolve_options
from mindo.spool import PrivateFolder
from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World

from ..console import clean, counted
from ..exit_codes import ExitCode
from ..session import CommandFailed, Session, Verdict
from ..warehouse import DEFAULT_DATASET

_PACKAGES: Final = ("dagster", "dagster-dbt", "dagster-webserver")
_CHILD: Final = "mindo_pipeline.dagster.until_parent_ends"
_DEFINITIONS: Final = "mindo_pipeline.dagster.definitions"
_INSTANCE: Final = "dagster.yaml"
_LOG: Final = "dagster.log"
_LOCK: Final = "mindo.lock"
_HOME: Final = ".dlt/.var/dagster"
_HOME_VARIABLE: Final = "DAGSTER_HOME"
_POOL_SLOTS: Final = 2
_DEMO_DAYS: Final = 60
_DEMO_MESSAGES: Final = 8_000
_DEMO_FILE: Final = "demo.duckdb"
_SECONDS_TO_START: Final = 300.0
_SECONDS_TO_STOP: Final = 45.0
_SECONDS_BETWEEN_LOOKS: Final = 0.5
_LOCATIONS: Final = """
{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError {
  __typename ... on PythonError { message } } } } } }
"""


@dataclass(frozen=True)
class DagsterOptions:
    """Where to serve, and what; see `mindo dagster --help`."""

    host: str
    port: int
    home: str | None = None
    destination: str | None = None
    dataset: str | None = None


@dataclass
class _Deployment:
    """What Dagster is started over.

    Attributes:
        home: Dagster's own folder.
        folder: The folder that it works in.
        over: What it reads, for people.
        warehouse: Where the tables are, for people.
        company_ids: The companies.
        can_be_shared: Whether there may be several loads at once.
        environment: What is told to it besides.
    """

    home: Path
    folder: Path
    over: str
    warehouse: str
    company_ids: list[int]
    can_be_shared: bool
    environment: dict[str, str] = field(default_factory=dict)


def dagster_command(session: Session, options: DagsterOptions) -> Verdict:
    """Serves until Ctrl-C."""
    _require_dagster()
    port = _free_port(options.host, options.port)
    with ExitStack() as stack:
        try:
            deployment = stack.enter_context(_deployment(session, options))
            stack.enter_context(_prepared_home(deployment))
            session.note("starting Dagster, which takes a while")
            process = stack.enter_context(_started(deployment, options.host, port))
            _wait_until_loaded(process, deployment, _url(options.host, port))
            _announce(session, deployment, options.host, port)
            process.wait()
        except KeyboardInterrupt:
            return Verdict(ExitCode.COMPLETE, "Dagster stopped.")
        raise _ended_by_itself(deployment)


def _require_dagster() -> None:
    try:
        for package in _PACKAGES:
            version(package)
    except PackageNotFoundError:
        raise ConfigurationError(
            "dagster: needs packages that are not installed; pip install 'mindo-connector[dagster]'."
        ) from None


def _free_port(host: str, port: int) -> int:
    """The port, or any free one for 0."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "no such host"
        raise CommandFailed(
            ExitCode.CONFIGURATION,
            f"dagster: can't listen on {clean(host)}:{port} ({reason}); choose another --port (0 takes a free one).",
        ) from None


@contextmanager
def _deployment(session: Session, options: DagsterOptions) -> Iterator[_Deployment]:
    configured = resolve_options()
    if not configured.api_key and not configured.api_keys:
        if options.destination or options.dataset:
            raise ConfigurationError(
                "api_key: missing; without one there is only the demo, which has a DuckDB file of its own. Set"
                " SOURCES__MINDO__API_KEY or write it to .dlt/secrets.toml (`mindo init`)."
            )
        with _demo(session, options.home) as deployment:
            yield deployment
        return

    from .partitions import configured_company_ids
    from .settings import Settings

    settings = Settings.resolve()
    settings = replace(
        settings,
        destination=options.destination or settings.destination,
        dataset=options.dataset or settings.dataset,
    )
    warehouse = settings.warehouse()
    company_ids = configured_company_ids(configured)
    given = {"DAGSTER__DESTINATION": options.destination, "DAGSTER__DATASET": options.dataset}
    yield _Deployment(
        home=Path(options.home or _HOME).absolute(),
        folder=Path.cwd(),
        over=f"{counted(len(company_ids), 'company', 'companies')} of {configured.base_url}",
        warehouse=f"{clean(warehouse.location)}, dataset {clean(warehouse.dataset)}",
        company_ids=company_ids,
        can_be_shared=warehouse.can_be_shared,
        environment={name: value for name, value in given.items() if value},
    )


@contextmanager
def _demo(session: Session, home: str | None) -> Iterator[_Deployment]:
    """A made-up Mindo and an empty warehouse, in a folder that is gone afterwards: tomorrow's world is another one."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = end - timedelta(days=_DEMO_DAYS)
    session.note("There is no API key, so this is a demo over a made-up Mindo.")
    private = PrivateFolder()
    try:
        with Emulator(World.generate(end=end, start=start, messages=_DEMO_MESSAGES)) as emulator:
            companies = emulator.world.companies.values()
            names = {str(c.id): {"name": c.name, "timezone": c.timezone} for c in companies}
            file = private.path / _DEMO_FILE
            yield _Deployment(
                home=Path(home).absolute() if home else private.path / "dagster",
                # nothing of the user's configuration may lead the demo to a real API
                folder=private.path,
                over=f"a made-up Mindo of {counted(len(names), 'company', 'companies')}",
                warehouse=f"{file}, dataset {DEFAULT_DATASET}",
                company_ids=[company.id for company in companies],
                can_be_shared=True,
                environment={
                    "SOURCES__MINDO__BASE_URL": emulator.base_url,
                    "SOURCES__MINDO__API_KEY": GLOBAL_DEMO_KEY,
                    "SOURCES__MINDO__COMPANY_IDS": ",".join(names),
                    "SOURCES__MINDO__COMPANIES": json.dumps(names),
                    "SOURCES__MINDO__START_DATE": start.date().isoformat(),
                    "DESTINATION__DUCKDB__CREDENTIALS": str(file),
                    "DAGSTER__DESTINATION": "duckdb",
                    "DAGSTER__DATASET": DEFAULT_DATASET,
                },
            )
    finally:
        private.close()


@contextmanager
def _prepared_home(deployment: _Deployment) -> Iterator[None]:
    """Dagster's folder, held for this process, with settings if it had none, and with a partition for each company."""
    home, slots = deployment.home, _POOL_SLOTS if deployment.can_be_shared else 1
    lock = FileLock(home / _LOCK, timeout=0, mode=0o600)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
        settings = home / _INSTANCE
        if not settings.exists():
            template = files("mindo_pipeline").joinpath("templates", _INSTANCE).read_text(encoding="utf-8")
            settings.write_text(
                template.replace("{pool_slots}", str(slots)).replace("{runs}", str(slots + 1)), encoding="utf-8"
            )
    except Timeout:
        raise ConfigurationError(
            f"home: another `mindo dagster` runs in {clean(home)}; stop it or choose another --home."
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"home: can't write to {clean(home)} ({os.strerror(error.errno or 0)}); choose another --home."
        ) from None
    with lock:
        try:
            _prepare_instance(deployment)
        except Exception as error:
            raise ConfigurationError(
                f"home: Dagster can't use {clean(home / _INSTANCE)} ({type(error).__name__}); mend it or choose another"
                " --home."
            ) from None
        yield


def _prepare_instance(deployment: _Deployment) -> None:
    import dagster as dg
    from dagster._core.launcher import DefaultRunLauncher
    from dagster._core.storage.runs import SqliteRunStorage

    from .nights import UNFINISHED
    from .partitions import company_partitions
    from .tables import POOL

    with dg.DagsterInstance.from_config(str(deployment.home)) as instance:
        instance.add_dynamic_partitions(
            company_partitions.name or "", [str(company_id) for company_id in deployment.company_ids]
        )
        # the queue learns of a limit that is a default only after it has let the first runs through
        instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
        if isinstance(instance.run_launcher, DefaultRunLauncher) and isinstance(instance.run_storage, SqliteRunStorage):
            # Dagster can't tell of runs in processes of this machine that they are dead, and would keep their slots for them
            begun = [status for status in UNFINISHED if status is not dg.DagsterRunStatus.QUEUED]
            for run in instance.get_runs(dg.RunsFilter(statuses=begun)):
                instance.report_run_failed(run, "Dagster was stopped while it ran.")


@contextmanager
def _started(deployment: _Deployment, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    arguments = ["dev", "-m", _DEFINITIONS, "--host", host, "--port", str(port), "--log-level", "warning"]
    environment = {**os.environ, **deployment.environment}
    environment |= {_HOME_VARIABLE: str(deployment.home), "DAGSTER_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    # whatever is called dagster, dbt or gql in the current folder is not meant
    environment["PYTHONSAFEPATH"] = "1"
    with (deployment.home / _LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", _CHILD, *arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=deployment.folder,
            env=environment,
            # Ctrl-C is for this process, which passes it on
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends Dagster and whatever it has started."""
    try:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(_SECONDS_TO_STOP)
    except BaseException:
        # an impatient second Ctrl-C, or it hangs
        pass
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _url(host: str, port: int) -> str:
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
        if ipaddress.ip_address(host).version == 6:
            host = f"[{host}]"
    return f"http://{host}:{port}"


def _wait_until_loaded(process: subprocess.Popen[bytes], deployment: _Deployment, url: str) -> None:
    end = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None:
        for location in _locations(url):
            found = location.get("locationOrLoadError") or {}
            if found.get("__typename") == "PythonError":
                line = (str(found.get("message")).strip().splitlines() or [""])[-1]
                raise ConfigurationError(f"dagster: the definitions can't be loaded; {clean(line)}")
            if found and location.get("loadStatus") == "LOADED":
                return
        if time.monotonic() > end:
            raise CommandFailed(
                ExitCode.CONFIGURATION, f"dagster: it did not come up in time; see {clean(deployment.home / _LOG)}."
            )
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    raise _ended_by_itself(deployment)


def _locations(url: str) -> list[Mapping[str, Any]]:
    """The code locations that the webserver knows; none as long as it does not answer."""
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": _LOCATIONS}).encode(), {"Content-Type": "application/json"}
    )
    # a proxy has no way to this machine
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return list(json.load(answer)["data"]["workspaceOrError"]["locationEntries"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _ended_by_itself(deployment: _Deployment) -> CommandFailed:
    return CommandFailed(
        ExitCode.CONFIGURATION, f"dagster: it has ended by itself; see {clean(deployment.home / _LOG)}."
    )


def _announce(session: Session, deployment: _Deployment, host: str, port: int) -> None:
    from .nights import AFTER_LOAD_JOB, NIGHTLY, RECONCILE

    url = _url(host, port)
    steps = (
        (f"{url}/assets/mindo/messages", "Materialize: choose companies and months, then Launch backfill"),
        (f"{url}/jobs", f"{AFTER_LOAD_JOB}, Materialize all: checks the tables, builds the dbt models"),
        (f"{url}/automation", f"{NIGHTLY} and {RECONCILE}: switch on what shall happen by itself"),
    )
    width = max(len(page) for page, _ in steps)
    session.show(
        f"Dagster is on {url}, over {deployment.over}. Ctrl-C ends it all.",
        "",
        *(f"  {page:{width}}  {what}" for page, what in steps),
        "",
        f"The tables go to {deployment.warehouse}; Dagster's own files are in {clean(deployment.home)}.",
    )
    if not _is_loopback(host):
        session.show(Text("It has no password: whoever can reach it can start loads and stop them.", "yellow"))
    session.out.file.flush()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
