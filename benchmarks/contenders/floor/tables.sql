-- The four tables of docs/tables.md, with the columns that the API gives; no ids, hashes or ledger of a loader.
SET preserve_insertion_order = false;
CREATE SCHEMA mindo;

CREATE TEMP TABLE pages AS
SELECT * FROM read_json(
    'pages/*.ndjson', format = 'newline_delimited', maximum_object_size = 67108864, columns = {
        message_id: 'VARCHAR', conversation_id: 'VARCHAR', occurred_at: 'TIMESTAMP', channel: 'VARCHAR', direction: 'VARCHAR',
        author: 'STRUCT("type" VARCHAR, id VARCHAR, display_name VARCHAR)',
        agent: 'STRUCT(id BIGINT, "name" VARCHAR, model VARCHAR)',
        content: 'STRUCT("type" VARCHAR, "text" VARCHAR, media_url VARCHAR, media_mime VARCHAR)',
        context: 'STRUCT(reply_to_message_id VARCHAR, thread_position BIGINT)',
        metadata: 'STRUCT(client_id VARCHAR, company_id BIGINT, exported_at TIMESTAMP, schema_version VARCHAR)',
        classifications: 'STRUCT("label" VARCHAR, "value" VARCHAR)[]',
        extractions: 'STRUCT(field VARCHAR, "value" VARCHAR, confidence DOUBLE)[]',
        tool_calls: 'STRUCT("name" VARCHAR, status VARCHAR, arguments JSON, result JSON, duration_ms BIGINT, error VARCHAR, started_at VARCHAR)[]',
        trace_id: 'VARCHAR'
    }
)
WHERE message_id IS NOT NULL;

CREATE TABLE mindo.messages AS
SELECT
    metadata.company_id, message_id, conversation_id, occurred_at AT TIME ZONE 'UTC' AS occurred_at, channel, direction,
    author.type AS author__type, author.id AS author__id, author.display_name AS author__display_name,
    agent.id AS agent__id, agent.name AS agent__name, agent.model AS agent__model,
    content.type AS content__type, content.text AS content__text, content.media_url AS content__media_url,
    content.media_mime AS content__media_mime,
    context.reply_to_message_id AS context__reply_to_message_id, context.thread_position AS context__thread_position,
    metadata.client_id AS metadata__client_id, metadata.exported_at AT TIME ZONE 'UTC' AS metadata__exported_at,
    metadata.schema_version AS metadata__schema_version, trace_id
FROM pages;

CREATE TABLE mindo.messages__classifications AS
SELECT
    metadata.company_id, message_id, idx - 1 AS _dlt_list_idx, conversation_id, occurred_at AT TIME ZONE 'UTC' AS occurred_at,
    channel, direction, author.id AS author__id, unnest(item)
FROM (SELECT *, classifications[idx] AS item FROM (SELECT *, generate_subscripts(classifications, 1) AS idx FROM pages));

CREATE TABLE mindo.messages__extractions AS
SELECT
    metadata.company_id, message_id, idx - 1 AS _dlt_list_idx, conversation_id, occurred_at AT TIME ZONE 'UTC' AS occurred_at,
    channel, direction, author.id AS author__id, unnest(item)
FROM (SELECT *, extractions[idx] AS item FROM (SELECT *, generate_subscripts(extractions, 1) AS idx FROM pages));

CREATE TABLE mindo.messages__tool_calls AS
SELECT
    metadata.company_id, message_id, idx - 1 AS _dlt_list_idx, conversation_id, occurred_at AT TIME ZONE 'UTC' AS occurred_at,
    channel, direction, author.id AS author__id, unnest(item)
FROM (SELECT *, tool_calls[idx] AS item FROM (SELECT *, generate_subscripts(tool_calls, 1) AS idx FROM pages));
