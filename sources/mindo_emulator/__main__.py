"""`python -m mindo_emulator`: serve a made-up Mindo until interrupted."""

from __future__ import annotations

import argparse

from .model import MAX_LIMIT
from .server import LOOPBACK, serve
from .settings import EmulatorSettings


def main(arguments: list[str] | None = None) -> None:
    """Parse the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m mindo_emulator", description="Serve a made-up Mindo API.")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="port; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the world (default: %(default)s)")
    parser.add_argument("--companies", type=_ids, default=(42, 57, 63), help="company ids (default: 42,57,63)")
    parser.add_argument("--messages", type=int, default=8_000, help="how many messages (default: %(default)s)")
    parser.add_argument("--start", help="first moment, ISO-8601 (default: 60 days before --end)")
    parser.add_argument("--end", help="moment after the last, ISO-8601 (default: now)")
    parser.add_argument("--bulk", action="store_true", help="serve millions of messages; they cannot be changed")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds to wait before each answer")
    parser.add_argument("--rate-limit", type=float, help="requests per second before 429")
    parser.add_argument("--page-cap", type=int, default=MAX_LIMIT, help="most rows per page (default: %(default)s)")
    parser.add_argument("--shuffled", action="store_true", help="serve rows in a constant random order")
    parser.add_argument("--gzip", action="store_true", help="compress for clients that accept it")
    parser.add_argument("--no-control", action="store_true", help="leave out the /_emulator/ endpoints")
    options = parser.parse_args(arguments)
    if options.bulk and options.shuffled:
        parser.error("--bulk serves rows in order of time only")
    serve(
        host=options.host,
        port=options.port,
        seed=options.seed,
        companies=options.companies,
        messages=options.messages,
        start=options.start,
        end=options.end,
        bulk=options.bulk,
        latency=options.latency,
        rate_limit=options.rate_limit,
        settings=EmulatorSettings(
            page_cap=options.page_cap,
            order="shuffled" if options.shuffled else "time",
            gzip=options.gzip,
            control=not options.no_control,
        ),
    )


def _ids(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
