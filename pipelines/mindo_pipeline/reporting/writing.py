"""Asks the questions of the dashboard once, and writes the answers into one file that needs nothing else."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from markupsafe import Markup

from mindo import ConfigurationError
from mindo.selection import parse_ids
from mindo.spool import open_private

from ..console import clean, counted, duration, json_time
from ..dashboard import pages, questions
from ..dashboard.fragments import cards, render, style_sheet
from ..dashboard.health import Health, health
from ..dashboard.reader import Reader
from ..dashboard.scope import Company, Scope
from ..dashboard.serving import open_reader, require_packages
from ..dashboard.variables import Variables
from ..exit_codes import ExitCode
from ..session import Session, Verdict

_LABELS: Final = 3
_KILOBYTE: Final = 1_000
_FOLDED: Final = "<details><summary>Numbers</summary>"
_UNFOLDED: Final = "<details open><summary>Numbers</summary>"


def report_command(
    session: Session,
    out: str,
    companies: str | None,
    days: int,
    destination: str | None,
    dataset: str | None,
) -> Verdict:
    """Asks and writes."""
    require_packages()
    reader = open_reader(destination, dataset)
    variables = Variables.resolve()
    there = questions.loaded(reader)
    chosen = _chosen(there.companies, companies)
    now = datetime.now(UTC)
    last = there.last or now.date()
    scope = Scope(chosen or (Company(0, None, "UTC"),), last - timedelta(days=days - 1), last)
    found = health(reader, chosen, (scope.first, scope.last), now)
    volume = questions.volume(reader, scope)
    page = render(
        "report",
        style=style_sheet(),
        place=reader.place,
        now=now,
        scope=scope,
        companies=chosen if companies is not None else (),
        honesty=_honesty(found),
        health=pages.summary(found)
        + cards(pages.companies(found), pages.failures(found), pages.schema_changes(found), pages.runs(found)),
        conversations=_conversations(reader, scope, variables, volume),
    )
    size = _write(Path(out), page)
    session.document |= {
        "file": str(Path(out).absolute()),
        "bytes": size,
        "location": reader.place,
        "first_day": scope.first.isoformat(),
        "last_day": scope.last.isoformat(),
        "messages": volume.total,
        "companies": [
            {
                "company_id": reading.company.id,
                "name": reading.company.name,
                "filters": reading.filters or None,
                "watermark": json_time(reading.watermark),
                "gaps": [{"start": json_time(start), "end": json_time(end)} for start, end in reading.gaps],
            }
            for reading in found.readings
        ],
        "to_mend": len(found.failures),
    }
    messages, of = counted(volume.total, "message"), counted(len(chosen), "company", "companies")
    return Verdict(
        ExitCode.COMPLETE, f"{clean(out)}: {messages} of {of}, {size / _KILOBYTE:,.0f} kB. {' '.join(_honesty(found))}"
    )


def _chosen(known: tuple[Company, ...], companies: str | None) -> tuple[Company, ...]:
    if companies is None:
        return known
    ids = parse_ids("companies", companies)
    missing = sorted(set(ids) - {company.id for company in known})
    if missing:
        raise ConfigurationError(
            f"companies: the warehouse holds nothing of {', '.join(map(str, missing))}; `mindo status` shows which there are."
        )
    return tuple(company for company in known if company.id in ids)


def _honesty(found: Health) -> list[str]:
    """What the numbers are worth, in sentences."""
    if not found.readings:
        return ["Nothing counts as read yet."]
    oldest = found.readings[0]
    age = oldest.age(found.now)
    behind = (
        f"Company {oldest.company.id} was never read without a gap."
        if age is None
        else f"The company furthest behind, {oldest.company.id}, is complete up to {duration(age)} ago."
    )
    gaps = f"{counted(found.gaps, 'gap')}: numbers of these days are too low." if found.gaps else "No gaps."
    mend = [f"{counted(len(found.failures), 'thing')} to mend."] if found.failures else []
    filters = sum(bool(reading.filters) for reading in found.readings)
    filtered = [f"{counted(filters, 'row')} of the companies' table read with filters."] if filters else []
    part = ["This warehouse holds part of a copy only."] if found.is_part_of_copy else []
    return [behind, gaps, *mend, *filtered, *part]


def _conversations(reader: Reader, scope: Scope, variables: Variables, volume: questions.Volume) -> Markup:
    if not volume.total:
        return pages.no_messages()
    handling = questions.handling(reader, scope)
    parts = [
        *pages.volume(volume, scope),
        pages.handling(handling, scope),
        pages.responses(questions.responses(reader, scope), scope),
    ]
    for label in questions.labels(reader, scope)[:_LABELS]:
        parts.append(pages.label(label["label"], questions.label_values(reader, scope, label["label"]), scope))
    if tools := questions.tools(reader, scope, variables):
        parts.append(pages.tools(tools))
    # on paper nothing can be unfolded
    shown = str(pages.conversation_tiles(volume, handling, scope) + cards(*parts)).replace(_FOLDED, _UNFOLDED)
    return Markup(shown)


def _write(file: Path, page: Markup) -> int:
    """Puts the whole file in place of one that is there, or leaves that as it is."""
    content = page.encode()
    new = file.with_name(f"{file.name}.new")
    try:
        with open_private(new) as stream:
            stream.write(content)
        new.replace(file)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ConfigurationError(
            f"out: can't write {clean(file)} ({os.strerror(error.errno or 0)}); name another file with --out."
        ) from None
    return len(content)
