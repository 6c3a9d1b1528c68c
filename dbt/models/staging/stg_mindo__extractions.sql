{{ config(enabled=var('mindo_using_extractions')) }}

{%- set table = mindo.loaded_table('messages__extractions') -%}
{%- set text = mindo.type_text() -%}

select
    {{ mindo.loaded_column(table, 'company_id', 'bigint') }} as company_id,
    coalesce(
        {{ mindo.loaded_column(table, 'conversation_id', text) }},
        {{ mindo.loaded_column(table, 'message_id', text) }}
    ) as conversation_id,
    {{ mindo.loaded_column(table, 'message_id', text) }} as message_id,
    {{ mindo.loaded_column(table, '_dlt_list_idx', 'bigint') }} as extraction_index,
    {{ mindo.loaded_column(table, 'occurred_at', mindo.type_moment()) }} as occurred_at,
    {{ mindo.loaded_column(table, var('mindo_extraction_field_column'), text) }} as field,
    {{ mindo.loaded_column(table, var('mindo_extraction_value_column'), text) }} as value,
    {{ mindo.loaded_column(table, '_dlt_load_id', text) }} as _dlt_load_id
{{ mindo.from_loaded(table) }}
{{- mindo.without_excluded(table) }}
