"""First questions to ask the tables, as data: each a title and plain SQL over the tables of DESIGN.md, for DuckDB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Insight:
    """A question and its answer's SQL; `{table}` stands for a table's qualified name.

    Attributes:
        name: Names it in the JSON object.
        title: The question.
        sql: Gives a few rows, ready to be shown.
    """

    name: str
    title: str
    sql: str


INSIGHTS: Final = (
    Insight(
        "channels",
        "Where do people write?",
        """
SELECT channel, count(*) AS messages, count(DISTINCT conversation_id) AS conversations,
    round(100 * count(*) / sum(count(*)) OVER (), 1) AS percent
FROM {messages}
GROUP BY channel ORDER BY messages DESC
""",
    ),
    Insight(
        "first_response",
        "How long until the first answer?",
        """
WITH asked AS (
    SELECT company_id, conversation_id, min(occurred_at) AS at
    FROM {messages} WHERE direction = 'inbound' GROUP BY ALL
), answered AS (
    SELECT a.company_id, a.conversation_id, epoch(min(m.occurred_at) - a.at) AS seconds
    FROM asked AS a JOIN {messages} AS m USING (company_id, conversation_id)
    WHERE m.author__type IN ('agent', 'operator') AND m.occurred_at > a.at
    GROUP BY a.company_id, a.conversation_id, a.at
)
SELECT coalesce(c.name, CAST(r.company_id AS VARCHAR)) AS company, count(*) AS conversations,
    round(median(r.seconds), 1) AS median_seconds, round(quantile_cont(r.seconds, 0.95), 1) AS slowest_5_percent
FROM answered AS r LEFT JOIN {companies} AS c USING (company_id)
GROUP BY ALL ORDER BY company
""",
    ),
    Insight(
        "handled_by",
        "Who handles the conversations?",
        """
WITH handled AS (
    SELECT company_id, conversation_id, bool_or(author__type = 'agent') AS ai, bool_or(author__type = 'operator') AS person
    FROM {messages} GROUP BY ALL
)
SELECT CASE WHEN ai AND person THEN 'AI, then a person' WHEN ai THEN 'AI only' WHEN person THEN 'a person only'
    ELSE 'nobody answered' END AS handled_by,
    count(*) AS conversations, round(100 * count(*) / sum(count(*)) OVER (), 1) AS percent
FROM handled GROUP BY handled_by ORDER BY conversations DESC
""",
    ),
    Insight(
        "labels",
        "What is it about?",
        """
SELECT label, value, count(*) AS messages
FROM {messages__classifications}
WHERE label IN ('Intent', 'Sentiment') AND value IS NOT NULL
GROUP BY label, value
QUALIFY row_number() OVER (PARTITION BY label ORDER BY count(*) DESC, value) <= 4
ORDER BY label, messages DESC
""",
    ),
    Insight(
        "tools",
        "Which tools of the AI agents fail?",
        """
SELECT name AS tool, count(*) AS calls, count(*) FILTER (status = 'error') AS errors,
    round(100 * count(*) FILTER (status = 'error') / count(*), 1) AS error_percent
FROM {messages__tool_calls}
GROUP BY name ORDER BY error_percent DESC, calls DESC LIMIT 5
""",
    ),
    Insight(
        "busiest_hour",
        "When is the busiest hour, on each company's own clock?",
        """
WITH local AS (
    SELECT coalesce(c.name, CAST(m.company_id AS VARCHAR)) AS company, coalesce(c.timezone, 'UTC') AS timezone,
        hour(timezone(coalesce(c.timezone, 'UTC'), m.occurred_at)) AS hour
    FROM {messages} AS m LEFT JOIN {companies} AS c USING (company_id)
)
SELECT company, timezone, printf('%02d:00', hour) AS hour, count(*) AS messages
FROM local GROUP BY company, timezone, hour
QUALIFY row_number() OVER (PARTITION BY company ORDER BY count(*) DESC, hour) = 1
ORDER BY company
""",
    ),
)
