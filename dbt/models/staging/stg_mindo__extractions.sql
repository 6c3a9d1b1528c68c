{{ config(enabled=var('mindo_using_extractions')) }}

{%- set table = mindo.loaded_table('messages__extractions') -%}
{%- set text = mindo.type_text() -%}

select
    {{ mindo.loaded_keys(table, 'extraction_index') }},
    {{ mindo.loaded_column(table, var('mindo_extraction_field_column'), text) }} as field,
    {{ mindo.loaded_column(table, var('mindo_extraction_value_column'), text) }} as value,
    {{ mindo.loaded_column(table, '_dlt_load_id', text) }} as _dlt_load_id
{{ mindo.from_loaded(table) }}
{{- mindo.without_excluded(table) }}
