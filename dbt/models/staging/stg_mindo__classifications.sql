{{ config(enabled=var('mindo_using_classifications')) }}

{%- set table = mindo.loaded_table('messages__classifications') -%}
{%- set text = mindo.type_text() -%}

select
    {{ mindo.loaded_keys(table, 'classification_index') }},
    {{ mindo.loaded_column(table, 'label', text) }} as label,
    {{ mindo.loaded_column(table, 'value', text) }} as value,
    {{ mindo.loaded_column(table, '_dlt_load_id', text) }} as _dlt_load_id
{{ mindo.from_loaded(table) }}
{{- mindo.without_excluded(table) }}
