"""The vendor's contract as data, the points it leaves open, and the connector's defaults."""

from datetime import timedelta
from typing import Final

SOURCE_NAME: Final = "mindo"

MESSAGES_PATH: Final = "/api/v1/qualitative-export/messages"
BUSINESS_INFO_PATH: Final = "/api/v1/business-info/"
DEFAULT_BASE_URL: Final = "https://api.mindosoftware.com"

MAX_WINDOW: Final = timedelta(days=31)
MAX_LIMIT: Final = 10_000

CHANNELS: Final[dict[str, tuple[str, ...]]] = {
    "whatsapp": ("META_WHATSAPP", "WHATSAPP_EVOLUTION", "MANYCHAT_WHATSAPP"),
    "instagram": ("INSTAGRAM", "MANYCHAT_INSTAGRAM"),
    "messenger": ("MESSENGER",),
}
"""Value of the `channel` parameter to the values of the `channel` field that it selects."""

DIRECTIONS: Final[dict[str, str]] = {"incoming": "inbound", "outgoing": "outbound"}
"""Value of the `direction` parameter to the value of the `direction` field that it selects."""

ALL: Final = "all"

INCLUDES: Final = ("classifications", "extractions", "tool_calls", "trace_id")

GLOBAL_KEY_PREFIX: Final = "mindo_global_"
AGENT_ID_PREFIX: Final = "agt_"

DEFAULT_LOOKBACK_DAYS: Final = 3.0
DEFAULT_WINDOW_HOURS: Final = 24.0
DEFAULT_WORKERS: Final = 4
DEFAULT_START_DAYS_AGO: Final = 30
"""Without a `start_date` the first run reads this many days."""

ASSUMPTIONS: Final[dict[str, str]] = {
    "occurred_at without a zone": "is UTC",
    "order of rows within a window": "unknown; nothing is filtered or stopped by order",
    "a page without a sentinel": "is the last, if asking once more for the end of the window shows nothing new",
    "members of agent, extractions[] and tool_calls[]": "unknown; discovered from the data",
    "values of classifications and extractions": "of any JSON type; stored as text, nothing is lost",
    "life of a cursor": "unknown; never stored across runs, a refused cursor restarts its window",
    "new enum values and new fields": "will come; they are loaded and reported",
    "a deleted message": "is simply no longer returned; re-reading its window removes it",
    "agent.id, where the API sends it": "is the number that the agent_id parameter filters by",
    "a row outside the requested window or company": "is an error of the API; its window is refused",
}
"""Every point the contract leaves open, and what the connector takes to be true."""
