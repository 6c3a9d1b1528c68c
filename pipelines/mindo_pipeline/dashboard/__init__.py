"""`mindo dashboard` and what `mindo report` shows as well: questions to the warehouse, charts, pages. Only reads."""
