{{ config(enabled=var('mindo_using_tool_calls')) }}

{%- set table = mindo.loaded_table('messages__tool_calls') -%}
{%- set text = mindo.type_text() -%}

select
    {{ mindo.loaded_keys(table, 'tool_call_index') }},
    {{ mindo.loaded_column(table, 'author__id', text) }} as author_id,
    {{ mindo.loaded_column(table, 'name', text) }} as tool_name,
    {{ mindo.loaded_column(table, 'status', text) }} as status,
    {{ mindo.loaded_column(table, var('mindo_tool_error_column'), text) }} as error,
    coalesce(
        lower({{ mindo.loaded_column(table, 'status', text) }}) in ({{ mindo.text_list('mindo_tool_error_statuses') }}),
        false
    ) or {{ mindo.loaded_column(table, var('mindo_tool_error_column'), text) }} is not null as is_error,
    {{ mindo.loaded_number(table, var('mindo_tool_duration_column')) }} as duration_ms,
    {{ mindo.loaded_column(table, '_dlt_load_id', text) }} as _dlt_load_id
{{ mindo.from_loaded(table) }}
{{- mindo.without_excluded(table) }}
