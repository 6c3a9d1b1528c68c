{%- set table = mindo.loaded_table('export_windows') -%}
{%- set text = mindo.type_text() -%}
{%- set moment = mindo.type_moment() -%}

select
    {{ mindo.loaded_column(table, 'run_id', text) }} as run_id,
    {{ mindo.loaded_column(table, 'company_id', 'bigint') }} as company_id,
    {{ mindo.loaded_column(table, 'window_start', moment) }} as window_start,
    {{ mindo.loaded_column(table, 'window_end', moment) }} as window_end,
    {{ mindo.loaded_column(table, 'channel', text) }} as channel,
    {{ mindo.loaded_column(table, 'direction', text) }} as direction,
    {{ mindo.loaded_column(table, 'agent_ids', text) }} as agent_ids,
    {{ mindo.loaded_column(table, 'include', text) }} as include,
    {{ mindo.loaded_column(table, 'pages', 'bigint') }} as pages,
    {{ mindo.loaded_column(table, 'requests', 'bigint') }} as requests,
    {{ mindo.loaded_column(table, 'retries', 'bigint') }} as retries,
    {{ mindo.loaded_column(table, 'messages', 'bigint') }} as messages,
    {{ mindo.loaded_column(table, 'classifications', 'bigint') }} as classifications,
    {{ mindo.loaded_column(table, 'extractions', 'bigint') }} as extractions,
    {{ mindo.loaded_column(table, 'tool_calls', 'bigint') }} as tool_calls,
    {{ mindo.loaded_column(table, 'bytes', 'bigint') }} as bytes,
    {{ mindo.loaded_column(table, 'started_at', moment) }} as started_at,
    {{ mindo.loaded_column(table, 'finished_at', moment) }} as finished_at,
    {{ mindo.loaded_column(table, '_dlt_load_id', text) }} as _dlt_load_id
{{ mindo.from_loaded(table) }}
