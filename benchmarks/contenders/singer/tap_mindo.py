"""A Singer tap on the Meltano SDK: one stream, partitioned by company, a page per request."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import requests
from ranges import ranges
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import APIKeyAuthenticator
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.pagination import BaseAPIPaginator

TEXT = th.StringType
# The contract leaves the members of these objects open: they arrive as JSON.
OPEN_OBJECT = th.ObjectType(additional_properties=True)
OPEN_LIST = th.ArrayType(OPEN_OBJECT)


class SentinelPaginator(BaseAPIPaginator[str | None]):
    """Takes the next cursor from the last line of a page."""

    def __init__(self) -> None:
        super().__init__(None)

    def get_next(self, response: requests.Response) -> str | None:
        last = response.content.rstrip(b"\n").rpartition(b"\n")[2]
        return json.loads(last).get("next_cursor") if last.startswith(b'{"_truncated"') else None


class Messages(RESTStream[str | None]):
    name = "messages"
    path = "/api/v1/qualitative-export/messages"
    primary_keys = ("message_id",)
    replication_key = None
    # What the API sends fits the schema; looking at every nested value takes time.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.ROOT_ONLY
    # The window of a partition is no state to go on from.
    state_partitioning_keys = ()
    schema = th.PropertiesList(
        th.Property("message_id", TEXT, required=True),
        th.Property("conversation_id", TEXT),
        th.Property("occurred_at", th.DateTimeType),
        th.Property("channel", TEXT),
        th.Property("direction", TEXT),
        th.Property(
            "author",
            th.ObjectType(th.Property("type", TEXT), th.Property("id", TEXT), th.Property("display_name", TEXT)),
        ),
        th.Property("agent", OPEN_OBJECT),
        th.Property(
            "content",
            th.ObjectType(
                th.Property("type", TEXT),
                th.Property("text", TEXT),
                th.Property("media_url", TEXT),
                th.Property("media_mime", TEXT),
            ),
        ),
        th.Property(
            "context",
            th.ObjectType(th.Property("reply_to_message_id", TEXT), th.Property("thread_position", th.IntegerType)),
        ),
        th.Property(
            "metadata",
            th.ObjectType(
                th.Property("client_id", TEXT),
                th.Property("company_id", th.IntegerType),
                th.Property("exported_at", th.DateTimeType),
                th.Property("schema_version", TEXT),
            ),
        ),
        th.Property("classifications", OPEN_LIST),
        th.Property("extractions", OPEN_LIST),
        th.Property("tool_calls", OPEN_LIST),
        th.Property("trace_id", TEXT),
    ).to_dict()

    @property
    def url_base(self) -> str:
        return str(self.config["api_url"])

    @property
    def authenticator(self) -> APIKeyAuthenticator:
        return APIKeyAuthenticator(key="X-API-Key", value=self.config["api_key"], location="header")

    @property
    def partitions(self) -> list[dict[str, Any]]:
        return [
            {"company_id": company, "from": start, "to": end}
            for company in self.config["companies"].split(",")
            for start, end in ranges(self.config["start_date"], self.config["end_date"])
        ]

    def get_new_paginator(self) -> SentinelPaginator:
        return SentinelPaginator()

    def get_url_params(self, context: Any, next_page_token: str | None) -> dict[str, Any]:
        params = {**context, "include": "classifications,extractions,tool_calls,trace_id", "limit": 10000}
        return {**params, "cursor": next_page_token} if next_page_token else params

    def parse_response(self, response: requests.Response) -> Iterable[dict[str, Any]]:
        for line in response.content.splitlines():
            row = json.loads(line)
            if "_error" in row:
                raise RuntimeError(row["_error"])
            if "_truncated" not in row:
                yield row


class TapMindo(Tap):
    name = "tap-mindo"
    # The faster of the SDK's two writers.
    message_writer_class = MsgSpecWriter
    config_jsonschema = th.PropertiesList(
        th.Property("api_url", TEXT, required=True),
        th.Property("api_key", TEXT, required=True, secret=True),
        th.Property("companies", TEXT, required=True),
        th.Property("start_date", TEXT, required=True),
        th.Property("end_date", TEXT, required=True),
    ).to_dict()

    def discover_streams(self) -> list[Messages]:
        return [Messages(self)]


if __name__ == "__main__":
    TapMindo.cli()
