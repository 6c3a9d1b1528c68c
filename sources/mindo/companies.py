"""Which companies a run reads, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from .client import MindoClient
from .configuration import Options
from .exceptions import ConfigurationError


@dataclass(frozen=True)
class Company:
    """A company as `companies` holds it. `timezone` is an IANA name: what "a day" means to its analysts."""

    company_id: int
    name: str | None = None
    timezone: str | None = None


def resolve_companies(options: Options, client: MindoClient) -> list[Company]:
    """The companies to read: a scoped key finds its own through `business-info`, a global key needs them named.

    Raises:
        ConfigurationError: If no company is named for a global key, or a scoped key belongs to another one.
        AccessError: If a key is refused.
        ApiError: If `business-info` can't be read.
    """
    if not options.api_key and not options.api_keys:
        raise ConfigurationError(
            "api_key: missing; set SOURCES__MINDO__API_KEY or write it to .dlt/secrets.toml (`mindo init`)."
        )
    if options.has_global_key and not options.company_ids:
        raise ConfigurationError(
            "company_ids: a global key reads every company, so name them: SOURCES__MINDO__COMPANY_IDS=42,57."
        )
    found = []
    for company_id in options.company_ids or (None,):
        api_key = options.key_of(company_id)
        if not api_key:
            raise ConfigurationError(f"api_keys: there is no key for company {company_id}.")
        if options.has_global_key and api_key == options.api_key:
            found.append(_configured(options, company_id or 0))
        else:
            found.append(_scoped(options, client, company_id, api_key))
    return found


def _scoped(options: Options, client: MindoClient, company_id: int | None, api_key: str) -> Company:
    info = client.business_info(api_key, company_id)
    own = int(info["id"])
    if company_id is not None and company_id != own:
        raise ConfigurationError(f"company_ids: the key given for company {company_id} belongs to company {own}.")
    configured = _configured(options, own)
    return Company(own, configured.name or _text(info.get("name")), configured.timezone or _text(info.get("timezone")))


def _configured(options: Options, company_id: int) -> Company:
    given = options.companies.get(company_id, {})
    timezone = _text(given.get("timezone"))
    if timezone:
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError, OSError):
            raise ConfigurationError(
                f"companies.{company_id}.timezone: {timezone!r} is not an IANA time zone like America/Argentina/Buenos_Aires."
            ) from None
    return Company(company_id, _text(given.get("name")), timezone)


def _text(value: object) -> str | None:
    return str(value) if value else None
