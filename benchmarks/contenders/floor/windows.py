"""Prints the ranges to ask for: company, from, to."""

import os
from datetime import datetime, timedelta

for company in os.environ["BENCH_COMPANIES"].split(","):
    start = datetime.fromisoformat(os.environ["BENCH_FROM"])
    last = datetime.fromisoformat(os.environ["BENCH_TO"])
    while start < last:
        end = min(start + timedelta(days=31), last)
        print(company, start.isoformat() + "Z", end.isoformat() + "Z")
        start = end
