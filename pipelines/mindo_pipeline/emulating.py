"""`mindo emulator`: a made-up Mindo on this machine, to try things against."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from mindo import ConfigurationError
from mindo.selection import parse_ids
from mindo_emulator import GLOBAL_DEMO_KEY, BulkWorld, Emulator, EmulatorSettings, World, demo_key

from .console import clean, counted, make_table
from .exit_codes import ExitCode
from .session import CommandFailed, Session, Verdict


@dataclass(frozen=True)
class EmulatorOptions:
    """What to serve, and how; see `mindo emulator --help`."""

    host: str
    port: int
    seed: int
    companies: str
    messages: int
    start: str | None
    end: str | None
    bulk: bool
    latency: float
    rate_limit: float | None
    page_cap: int
    shuffled: bool
    gzip: bool


def emulator_command(session: Session, options: EmulatorOptions) -> Verdict:
    """Serves until Ctrl-C."""
    if options.bulk and options.shuffled:
        raise ConfigurationError("shuffled: a --bulk world serves its rows in order of time only.")
    settings = EmulatorSettings(
        latency=options.latency,
        rate_limit=options.rate_limit,
        page_cap=options.page_cap,
        order="shuffled" if options.shuffled else "time",
        gzip=options.gzip,
        control=True,
    )
    world = _make_world(options)
    try:
        emulator = Emulator(world, settings, host=options.host, port=options.port).start()
    except OSError as error:
        raise CommandFailed(
            ExitCode.CONFIGURATION,
            f"emulator: can't listen on {options.host}:{options.port} ({os.strerror(error.errno or 0)}); choose another"
            " --port (0 takes a free one).",
        ) from error
    try:
        _announce(session, emulator.base_url, world, options.messages)
        threading.Event().wait()
    except KeyboardInterrupt:
        return Verdict(ExitCode.COMPLETE, "emulator stopped.")
    finally:
        emulator.stop()
    return Verdict(ExitCode.COMPLETE, "")


def _make_world(options: EmulatorOptions) -> World | BulkWorld:
    companies = parse_ids("companies", options.companies)
    make: type[World] | type[BulkWorld] = BulkWorld if options.bulk else World
    try:
        return make.generate(
            seed=options.seed, companies=companies, start=options.start, end=options.end, messages=options.messages
        )
    except (ValueError, OverflowError):
        raise ConfigurationError(
            "start, end: not a range of ISO-8601 dates such as 2026-04-01 to 2026-05-01."
        ) from None


def _announce(session: Session, base_url: str, world: World | BulkWorld, messages: int) -> None:
    ids = ",".join(map(str, world.companies))
    keys = make_table("key", "reads")
    keys.add_row(GLOBAL_DEMO_KEY, "every company")
    for company in world.companies.values():
        keys.add_row(demo_key(company.id), f"{company.id} {clean(company.name)}, {company.timezone}")
    session.show(
        f"A made-up Mindo with {counted(messages, 'message')} on {base_url}. Ctrl-C stops it.",
        keys,
        "In another terminal:",
        f"  export SOURCES__MINDO__BASE_URL={base_url}",
        f"  export SOURCES__MINDO__API_KEY={GLOBAL_DEMO_KEY}",
        f"  export SOURCES__MINDO__COMPANY_IDS={ids}",
        "  mindo run",
    )
    session.out.file.flush()
