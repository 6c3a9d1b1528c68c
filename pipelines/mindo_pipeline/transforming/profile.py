"""How dbt gets to the warehouse: a profile in which nothing stands that is secret, and the environment that goes with it.

Every text is in the environment: dbt takes what stands in a profile for a template, and keeps secrets of the environment out of
its logs.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dlt.destinations.impl.postgres.configuration import PostgresCredentials

from mindo import ConfigurationError

from ..defaults import DUCKDB_DEFAULTS
from ..model_tables import schema_of
from ..warehouse import Warehouse
from .project import PROJECT

_PLAIN: Final = "DBT_MINDO_"
_SECRET: Final = "DBT_ENV_SECRET_MINDO_"
_UTC: Final = "UTC"
_DUCKDB: Final = "duckdb"
_POSTGRES: Final = "postgres"

_LIBPQ_VARIABLES: Final = {
    name: f"PG{name.replace('_', '').upper()}"
    for name in (
        "channel_binding",
        "gssencmode",
        "hostaddr",
        "krbsrvname",
        "load_balance_hosts",
        "passfile",
        "require_auth",
        "requirepeer",
        "service",
        "sslcert",
        "sslcompression",
        "sslcrl",
        "sslcrldir",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "sslsni",
        "target_session_attrs",
    )
} | {
    "client_encoding": "PGCLIENTENCODING",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
}
"""What a connection string can say and dbt's profile can't, or not all of it: the client library takes it from here."""

_FILES: Final = frozenset({"passfile", "sslcert", "sslcrl", "sslcrldir", "sslkey", "sslrootcert"})
_NO_FILE: Final = "system"
"""As `sslrootcert`: the certificates of the system."""


@dataclass
class Profile:
    """A dbt profile.

    Attributes:
        adapter: The kind of database: the name of dbt's adapter.
        output: The target, as dbt's profiles.yml has it.
        environment: The variables that it refers to, and those of the database's client library.
    """

    adapter: str
    output: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes profiles.yml; JSON is YAML as well."""
        document = {PROJECT: {"target": self.adapter, "outputs": {self.adapter: {"type": self.adapter, **self.output}}}}
        (folder / "profiles.yml").write_text(json.dumps(document, indent=2), encoding="utf-8")

    def _refer(self, name: str, value: str, prefix: str = _PLAIN) -> str:
        variable = f"{prefix}{name.upper()}"
        self.environment[variable] = value
        return f"{{{{ env_var('{variable}') }}}}"


def adapter_of(warehouse: Warehouse) -> str:
    """The dbt adapter for a warehouse.

    Raises:
        ConfigurationError: If the command runs dbt on no such destination.
    """
    if warehouse.file is not None:
        return _DUCKDB
    # those of Redshift are derived from it
    if type(_credentials(warehouse)) is PostgresCredentials:
        return _POSTGRES
    raise ConfigurationError(
        f"destination: `mindo dbt` runs on DuckDB files and PostgreSQL, not on {warehouse.destination}; there use the package"
        " from a dbt project of your own, see dbt/README.md."
    )


def make_profile(warehouse: Warehouse, threads: int, read_only: bool = False) -> Profile:
    """The profile for a warehouse. Its target schema is the dataset.

    Args:
        warehouse: Where to build.
        threads: How many models are built at once.
        read_only: Whether a DuckDB file is opened so that others can read it meanwhile.
    """
    adapter = adapter_of(warehouse)
    profile = Profile(adapter)
    if adapter == _DUCKDB:
        _add_duckdb(profile, warehouse, read_only)
    else:
        _add_postgres(profile, _credentials(warehouse))
    profile.output |= {"schema": profile._refer("schema", schema_of(warehouse)), "threads": threads}
    return profile


def _credentials(warehouse: Warehouse) -> Any:
    return getattr(warehouse.pipeline.destination_client().config, "credentials", None)


def _is_secret(option: str) -> bool:
    return any(word in option for word in ("secret", "token", "key", "password"))


def _add_duckdb(profile: Profile, warehouse: Warehouse, read_only: bool) -> None:
    # the limits of the defaults suit loads; what somebody has set is meant for all that is done with the file
    defaults = DUCKDB_DEFAULTS["destination"]["duckdb"]["credentials"]["global_config"]
    own = _credentials(warehouse).global_config or {}
    options = {name: value for name, value in own.items() if defaults.get(name) != value}
    if read_only:
        options["access_mode"] = "READ_ONLY"
    profile.output |= {
        "path": profile._refer("path", str(Path(str(warehouse.file)).absolute())),
        "settings": {"TimeZone": _UTC},
        "config_options": {
            # dbt strikes a secret's value out of whole lines of its log, which short ones would break
            name: profile._refer(f"option_{number}", str(value), _SECRET if _is_secret(name) else _PLAIN)
            for number, (name, value) in enumerate(options.items())
        },
    }


def _add_postgres(profile: Profile, credentials: PostgresCredentials) -> None:
    query = {name: str(value) for name, value in credentials.get_query().items() if value is not None}
    # dbt asks for all of these, and the client library takes even an empty one for an answer
    user = query.get("user") or credentials.username or os.environ.get("PGUSER") or getpass.getuser()
    password = query.get("password") or credentials.password or os.environ.get("PGPASSWORD") or ""
    profile.output |= {
        "host": profile._refer("host", query.get("host") or credentials.host or ""),
        "port": int(query.get("port") or credentials.port or 5432),
        "user": profile._refer("user", user),
        "password": profile._refer("password", password, _SECRET),
        "dbname": profile._refer("database", query.get("dbname") or credentials.database or ""),
        "connect_timeout": int(credentials.connect_timeout),
        "keepalives_idle": int(query.get("keepalives_idle", 0)),
    }
    if "application_name" in query:
        profile.output["application_name"] = profile._refer("application_name", query["application_name"])
    profile.environment |= _client_settings(query)
    options = query.get("options") or os.environ.get("PGOPTIONS", "")
    # the last one counts
    profile.environment["PGOPTIONS"] = f"{options} -c TimeZone={_UTC}".strip()


def _client_settings(query: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, value in query.items():
        if name in _LIBPQ_VARIABLES:
            # dbt works in the project's folder
            is_file = name in _FILES and value != _NO_FILE
            found[_LIBPQ_VARIABLES[name]] = str(Path(value).expanduser().absolute()) if is_file else value
    return found
