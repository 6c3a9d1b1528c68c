{{ config(enabled=var('mindo_using_traces'), materialized='view') }}

select
    company_id,
    conversation_id,
    message_id,
    message_number,
    occurred_at,
    occurred_on,
    author_id,
    author_name,
    agent_id,
    trace_id,
    {% if var('mindo_langfuse_project') -%}
    '{{ (var('mindo_langfuse_host') ~ '').rstrip('/') | replace("'", "''") }}/project/{{ var('mindo_langfuse_project') | string | replace("'", "''") }}/traces/' || trace_id
    {%- else -%}
    cast(null as {{ mindo.type_text() }})
    {%- endif %} as langfuse_url
from {{ ref('int_mindo__messages') }}
where trace_id is not null
