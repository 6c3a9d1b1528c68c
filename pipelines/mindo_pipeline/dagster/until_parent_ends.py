"""Dagster's command line in a process that ends with the one that started it, however that ended: its standard input tells."""

from __future__ import annotations

import os
import signal
import sys
import threading


def _stop_after_parent() -> None:
    # below Python's own stdin, whose lock would be held when Python ends
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    # a process of the background may have been told to ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_stop_after_parent, daemon=True).start()

    from dagster._cli import create_dagster_cli

    create_dagster_cli()(prog_name="dagster")  # type: ignore[no-untyped-call]
