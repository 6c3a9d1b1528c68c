"""Prints what to ask for: company, from, to."""

import os

from ranges import ranges

for company in os.environ["BENCH_COMPANIES"].split(","):
    for start, end in ranges(os.environ["BENCH_FROM"], os.environ["BENCH_TO"]):
        print(company, start, end)
