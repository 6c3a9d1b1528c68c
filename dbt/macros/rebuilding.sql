{#-
  How incremental models follow the messages. Each of their rows holds the `_version` of what it was made from: of its
  conversation, or of its company's day. A run drops the rows of those that are gone or have another version by now, and
  makes the missing ones anew. Nothing has to be remembered between runs, so a run that was left out, broke off or was
  limited to some models can't lose anything.
-#}

{% macro _versioned() %}
  {{ return({
    'conversation': {'keys': ['company_id', 'conversation_id'], 'versions': 'int_mindo__conversation_versions'},
    'day': {'keys': ['company_id', 'occurred_on'], 'versions': 'int_mindo__day_versions'},
  }) }}
{% endmacro %}


{#- `one` and `other` have the same keys. -#}
{% macro _same(keys, one, other) -%}
  {%- for key in keys %}{{ one }}.{{ key }} = {{ other }}.{{ key }}{{ ' and ' if not loop.last }}{% endfor -%}
{%- endmacro %}


{#- The hook of an incremental model: drops what is gone or outdated of each `unit`, conversation or day. -#}
{% macro drop_outdated(unit) %}
  {%- do mindo.check_settings(unit) -%}
  {%- set relation = load_relation(this) if execute else none -%}
  {%- if relation is not none and relation.type == 'table' and not should_full_refresh() -%}
    {%- set versioned = mindo._versioned()[unit] -%}
delete from {{ this }}
where not exists (
    select 1 from {{ ref(versioned.versions) }} as versions
    where {{ mindo._same(versioned['keys'], 'versions', this.identifier) }} and versions._version = {{ this.identifier }}._version
)
  {%- endif -%}
{% endmacro %}


{#- Ends a run of some models only whose variables are not those of the versions: nothing could tell its rows from right ones. -#}
{% macro check_settings(unit) %}
  {%- if execute -%}
    {%- set versions = mindo._versioned()[unit].versions -%}
    {%- set settings = run_query('select distinct _settings from ' ~ ref(versions)).columns[0].values() -%}
    {%- if settings | reject('equalto', mindo.settings_fingerprint()) | list -%}
      {{ exceptions.raise_compiler_error(
        'mindo: ' ~ this.identifier ~ ': the variables are not those that ' ~ versions ~ ' was built with; build what it depends on as well: --select +' ~ this.identifier
      ) }}
    {%- endif -%}
  {%- endif -%}
{% endmacro %}


{#- The conversations, or days, to make rows of: all at first, later those that have none. -#}
{% macro to_build(unit) -%}
  {%- set versioned = mindo._versioned()[unit] -%}
select {% for key in versioned['keys'] %}versions.{{ key }}, {% endfor %}versions._version
from {{ ref(versioned.versions) }} as versions
{%- if is_incremental() %}
where not exists (
    select 1 from {{ this }} as built
    where {{ mindo._same(versioned['keys'], 'built', 'versions') }}
)
{%- endif -%}
{%- endmacro %}
