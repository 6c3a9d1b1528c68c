"""The tables as data: what is declared, and where in a message each column comes from.

Whatever the API sends beyond this is discovered (see `discovery`) and becomes a column beside these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

DataType = Literal["text", "bigint", "double", "bool", "timestamp", "json"]

MESSAGES: Final = "messages"
EXPORT_WINDOWS: Final = "export_windows"
COMPANIES: Final = "companies"
AUDIT_LOG: Final = "audit_log"


@dataclass(frozen=True)
class Column:
    """A column of a table; `timestamp` is UTC with microseconds. `member` is where a discovered column comes from."""

    name: str
    data_type: DataType
    description: str
    nullable: bool = True
    member: str | None = None


@dataclass(frozen=True)
class Site:
    """A place in a message where a JSON object with members stands.

    Attributes:
        name: The member of the message that holds the object; empty for the message itself.
        members: Declared members and the type of their column.
        lifted: Members that have a column of another name, or a table of their own.
        others: Type of every member not declared; `None` means: by its values.
        bare: Type of the column for a value that is not an object at all.
    """

    name: str
    members: dict[str, DataType]
    lifted: tuple[str, ...] = ()
    others: DataType | None = None
    bare: DataType = "json"

    def column_name(self, member: str) -> str:
        """`author`, `id` gives `author__id`; members of the message itself and of list items keep their name."""
        return f"{self.name}__{member}" if self.name else member


OBJECTS: Final = {
    site.name: site
    for site in (
        Site("author", {"type": "text", "id": "text", "display_name": "text"}),
        Site("agent", {}),
        Site("content", {"type": "text", "text": "text", "media_url": "text", "media_mime": "text"}),
        Site("context", {"reply_to_message_id": "text", "thread_position": "bigint"}),
        Site(
            "metadata",
            {"client_id": "text", "exported_at": "timestamp", "schema_version": "text"},
            lifted=("company_id",),
        ),
    )
}
"""The objects of a message, flattened into `messages`."""

LISTS: Final = {
    "classifications": Site("", {"label": "text", "value": "text"}, bare="text"),
    "extractions": Site("", {}, others="text", bare="text"),
    "tool_calls": Site("", {"name": "text", "status": "text", "arguments": "json", "result": "json"}),
}
"""The lists of a message: a child table each, a row per item. Their order is the order of the parts of `_row_hash`."""

TOP_MEMBERS: Final = ("message_id", "conversation_id", "occurred_at", "channel", "direction", "trace_id")

MESSAGE: Final = Site("", dict.fromkeys(TOP_MEMBERS, "text"), lifted=(*OBJECTS, *LISTS))

CHILD_TABLES: Final = {name: f"{MESSAGES}__{name}" for name in LISTS}
VALUE: Final = "value"
"""Column for an item of a list that is not an object, as in dlt."""

_COMPANY_ID = Column("company_id", "bigint", "Company, from metadata.company_id.", nullable=False)
_MESSAGE_ID = Column("message_id", "text", "Anonymised id of the message (msg_…).", nullable=False)
_OCCURRED_AT = Column("occurred_at", "timestamp", "When the message was sent, UTC.", nullable=False)
_CONVERSATION_ID = Column("conversation_id", "text", "Anonymised id of the chat (conv_…).")
_CHANNEL = Column("channel", "text", "Platform, such as META_WHATSAPP.")
_DIRECTION = Column("direction", "text", "inbound (from the contact) or outbound.")
_AUTHOR_ID = Column("author__id", "text", "Anonymised id of the author: ctc_… contact, agt_… agent, op_… operator.")
_CHANGED_BY: Final = Column("_dlt_load_id", "text", "The load that last changed the row.", nullable=False)
_WRITTEN_BY: Final = Column("_dlt_load_id", "text", "The load that wrote the row.", nullable=False)
_LOADING: Final = (
    Column("_window_end", "timestamp", "Always empty: used while loading only."),
    Column("_row_hash", "text", "Changes exactly when the row's content changes.", nullable=False),
    Column("_dlt_id", "text", "Id of the row, always the same for the same key.", nullable=False),
    _CHANGED_BY,
)

DECLARED: Final[dict[str, tuple[Column, ...]]] = {
    MESSAGES: (
        _COMPANY_ID,
        _MESSAGE_ID,
        _CONVERSATION_ID,
        _OCCURRED_AT,
        _CHANNEL,
        _DIRECTION,
        Column("author__type", "text", "Who wrote: contact, agent, operator …"),
        _AUTHOR_ID,
        Column("author__display_name", "text", "Name of the author, where the API gives one."),
        Column("content__type", "text", "text, image, audio …"),
        Column("content__text", "text", "The message text, byte for byte."),
        Column("content__media_url", "text", "Where the media is."),
        Column("content__media_mime", "text", "MIME type of the media."),
        Column("context__reply_to_message_id", "text", "The message that this one answers."),
        Column("context__thread_position", "bigint", "Position in the thread, where the API gives one."),
        Column("metadata__client_id", "text", "Anonymised id of the company (cmp_…)."),
        Column("metadata__exported_at", "timestamp", "Time of the export that last changed the row, UTC."),
        Column("metadata__schema_version", "text", "Version of the API's message schema."),
        Column("trace_id", "text", "Langfuse trace of an AI agent's message."),
        *_LOADING,
    ),
    **{
        CHILD_TABLES[name]: (
            _COMPANY_ID,
            _MESSAGE_ID,
            Column("_dlt_list_idx", "bigint", "Position in the message's list, from 0.", nullable=False),
            _CONVERSATION_ID,
            _OCCURRED_AT,
            _CHANNEL,
            _DIRECTION,
            _AUTHOR_ID,
            *(Column(member, kind, f"`{member}` of the item.") for member, kind in site.members.items()),
            *_LOADING,
            Column("_dlt_parent_id", "text", "_dlt_id of the message.", nullable=False),
        )
        for name, site in LISTS.items()
    },
    EXPORT_WINDOWS: (
        Column("run_id", "text", "The run that read the window.", nullable=False),
        _COMPANY_ID,
        Column("window_start", "timestamp", "First moment of the window, UTC, inclusive.", nullable=False),
        Column("window_end", "timestamp", "End of the window, UTC, exclusive.", nullable=False),
        Column("channel", "text", "The channel filter, or all.", nullable=False),
        Column("direction", "text", "The direction filter, or all.", nullable=False),
        Column("agent_ids", "text", "The agent filter, comma-separated, or all.", nullable=False),
        Column("include", "text", "The optional parts asked for, comma-separated.", nullable=False),
        Column("pages", "bigint", "Pages read."),
        Column("requests", "bigint", "HTTP requests sent, retries included."),
        Column("retries", "bigint", "Requests that had to be repeated."),
        Column("messages", "bigint", "Rows of messages in the window."),
        *(Column(name, "bigint", f"Rows of {CHILD_TABLES[name]}; empty if left out.") for name in LISTS),
        Column("bytes", "bigint", "Size of the pages, decompressed."),
        Column("started_at", "timestamp", "When reading began, UTC."),
        Column("finished_at", "timestamp", "When the last page was proven, UTC."),
        Column("ids_digest", "text", "MD5 of the sorted message ids, comma-separated."),
        _WRITTEN_BY,
    ),
    COMPANIES: (
        _COMPANY_ID,
        Column("name", "text", "Name, from business-info or from configuration."),
        Column("timezone", "text", "IANA time zone: what a day means to this company."),
        _WRITTEN_BY,
    ),
    AUDIT_LOG: (
        Column("audit_id", "text", "Id of the entry.", nullable=False),
        Column("action", "text", "forget_contact, forget_conversation, rewind_state or forget_state.", nullable=False),
        Column("subject", "text", "Anonymised id that was forgotten, or what was done to the state.", nullable=False),
        Column("company_id", "bigint", "Company; empty if the warehouse held nothing of the subject."),
        Column("messages", "bigint", "Rows of messages that were erased; to be erased while finished_at is empty."),
        *(Column(name, "bigint", f"The same for {CHILD_TABLES[name]}.") for name in LISTS),
        Column("requested_at", "timestamp", "When it was asked for, UTC.", nullable=False),
        Column("finished_at", "timestamp", "When it was done, UTC; empty until nothing is left to do."),
        _WRITTEN_BY,
    ),
}
"""Declared columns of every table, in order."""

PRIMARY_KEYS: Final[dict[str, tuple[str, ...]]] = {
    MESSAGES: ("company_id", "message_id"),
    **dict.fromkeys(CHILD_TABLES.values(), ("company_id", "message_id", "_dlt_list_idx")),
    EXPORT_WINDOWS: ("run_id", "company_id", "window_start", "window_end"),
    COMPANIES: ("company_id",),
    AUDIT_LOG: ("audit_id",),
}
