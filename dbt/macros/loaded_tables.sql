{#- What the connector loaded: tables that `include` left out are missing, and so can be any column that is no key. -#}

{% macro loaded_table(name) %}
  {%- set source_table = source('mindo', name) -%}
  {%- set relation = none -%}
  {%- set columns = [] -%}
  {%- if execute -%}
    {%- set relation = adapter.get_relation(source_table.database, source_table.schema, source_table.identifier) -%}
    {%- if relation is not none -%}
      {%- set columns = adapter.get_columns_in_relation(relation) | map(attribute='name') | map('lower') | list -%}
    {%- endif -%}
  {%- endif -%}
  {{ return({'name': source_table if relation is not none else none, 'columns': columns}) }}
{% endmacro %}


{% macro from_loaded(table) -%}
  {%- if table.name is none -%}
from (select 1 as nothing) as missing_table where 1 = 0
  {%- else -%}
from {{ table.name }} where 1 = 1
  {%- endif -%}
{%- endmacro %}


{#- A column, or empty values where the table has no such column. -#}
{% macro loaded_column(table, name, type) -%}
cast({{ name if name in table.columns else 'null' }} as {{ type }})
{%- endmacro %}


{#- What each list of messages has: whose item it is, and its place in the list. -#}
{% macro loaded_keys(table, index) -%}
{{ mindo.loaded_column(table, 'company_id', 'bigint') }} as company_id,
    coalesce(
        {{ mindo.loaded_column(table, 'conversation_id', mindo.type_text()) }},
        {{ mindo.loaded_column(table, 'message_id', mindo.type_text()) }}
    ) as conversation_id,
    {{ mindo.loaded_column(table, 'message_id', mindo.type_text()) }} as message_id,
    {{ mindo.loaded_column(table, '_dlt_list_idx', 'bigint') }} as {{ index }},
    {{ mindo.loaded_column(table, 'occurred_at', mindo.type_moment()) }} as occurred_at
{%- endmacro %}


{#- A number, or empty: dlt keeps values of another type than the column's in columns of their own. -#}
{% macro loaded_number(table, name) -%}
  {%- set columns = [] -%}
  {%- for column in table.columns if column == name or column in [name ~ '__v_double', name ~ '__v_bigint'] -%}
    {%- do columns.append('cast(' ~ column ~ ' as ' ~ mindo.type_double() ~ ')') -%}
  {%- endfor -%}
  {%- if columns | length > 1 -%}
coalesce({{ columns | join(', ') }})
  {%- else -%}
{{ columns[0] if columns else 'cast(null as ' ~ mindo.type_double() ~ ')' }}
  {%- endif -%}
{%- endmacro %}


{#- Leaves out what the variables exclude; the table's own columns decide. -#}
{% macro without_excluded(table) -%}
  {%- for name, column in {'mindo_excluded_channels': 'channel', 'mindo_excluded_directions': 'direction'}.items() if var(name) -%}
    {%- if column in table.columns %}
    and coalesce(lower({{ column }}), '') not in ({{ mindo.text_list(name) }})
    {%- endif %}
  {%- endfor -%}
{%- endmacro %}
