{#-
  A percentile with interpolation of each group; empty values don't count. BigQuery has it for windows only, and Redshift
  orders all aggregates of a query by one value, so there the rows of the query have to come from with_percentiles.
-#}
{% macro percentile(value, fraction) %}{{ return(adapter.dispatch('percentile', 'mindo')(value, fraction)) }}{% endmacro %}

{% macro default__percentile(value, fraction) %}percentile_cont({{ fraction }}) within group (order by {{ value }}){% endmacro %}

{% macro duckdb__percentile(value, fraction) %}quantile_cont({{ value }}, {{ fraction }}){% endmacro %}

{% macro databricks__percentile(value, fraction) %}percentile({{ value }}, {{ fraction }}){% endmacro %}

{% macro bigquery__percentile(value, fraction) %}min({{ mindo._percentile_column(value, fraction) }}){% endmacro %}

{% macro redshift__percentile(value, fraction) %}min({{ mindo._percentile_column(value, fraction) }}){% endmacro %}

{% macro _percentile_column(value, fraction) %}percentile_{{ local_md5(value ~ fraction)[:12] }}{% endmacro %}


{#- A table to group by `keys` and to take percentiles 0.5 and 0.95 of `values` from. -#}
{% macro with_percentiles(table, keys, values) %}{{ return(adapter.dispatch('with_percentiles', 'mindo')(table, keys, values)) }}{% endmacro %}

{% macro default__with_percentiles(table, keys, values) %}{{ table }}{% endmacro %}

{% macro bigquery__with_percentiles(table, keys, values) -%}
(
        select
            *{% for value in values %}{% for fraction in [0.5, 0.95] %},
            percentile_cont({{ value }}, {{ fraction }}) over (partition by {{ keys | join(', ') }})
                as {{ mindo._percentile_column(value, fraction) }}{% endfor %}{% endfor %}
        from {{ table }}
    ) as with_percentiles
{%- endmacro %}

{% macro redshift__with_percentiles(table, keys, values) -%}
(
        select
            *{% for value in values %}{% for fraction in [0.5, 0.95] %},
            percentile_cont({{ fraction }}) within group (order by {{ value }}) over (partition by {{ keys | join(', ') }})
                as {{ mindo._percentile_column(value, fraction) }}{% endfor %}{% endfor %}
        from {{ table }}
    ) as with_percentiles
{%- endmacro %}


{#- Texts as one, sorted. -#}
{% macro joined_texts(value, delimiter) %}{{ return(adapter.dispatch('joined_texts', 'mindo')(value, delimiter)) }}{% endmacro %}

{% macro default__joined_texts(value, delimiter) -%}
listagg({{ value }}, '{{ delimiter }}') within group (order by {{ value }})
{%- endmacro %}

{% macro duckdb__joined_texts(value, delimiter) %}string_agg({{ value }}, '{{ delimiter }}' order by {{ value }}){% endmacro %}

{% macro postgres__joined_texts(value, delimiter) %}string_agg({{ value }}, '{{ delimiter }}' order by {{ value }}){% endmacro %}

{% macro redshift__joined_texts(value, delimiter) -%}
listagg({{ value }}, '{{ delimiter }}') within group (order by {{ value }})
{%- endmacro %}

{% macro bigquery__joined_texts(value, delimiter) %}string_agg({{ value }}, '{{ delimiter }}' order by {{ value }}){% endmacro %}

{% macro databricks__joined_texts(value, delimiter) -%}
array_join(array_sort(collect_list({{ value }})), '{{ delimiter }}')
{%- endmacro %}


{#- A number of 64 bits that changes with any of the columns, none of which may be empty. -#}
{% macro fingerprint(columns) %}{{ return(adapter.dispatch('fingerprint', 'mindo')(columns)) }}{% endmacro %}

{% macro _joined_as_text(columns) -%}
{%- for column in columns %}cast({{ column }} as {{ mindo.type_text() }}){{ " || '|' || " if not loop.last }}{% endfor -%}
{%- endmacro %}

{% macro default__fingerprint(columns) %}hash({{ columns | join(', ') }}){% endmacro %}

{% macro postgres__fingerprint(columns) %}hashtextextended({{ mindo._joined_as_text(columns) }}, 0){% endmacro %}

{% macro redshift__fingerprint(columns) %}farmfingerprint64({{ mindo._joined_as_text(columns) }}){% endmacro %}

{% macro bigquery__fingerprint(columns) %}farm_fingerprint({{ mindo._joined_as_text(columns) }}){% endmacro %}

{% macro databricks__fingerprint(columns) %}xxhash64({{ columns | join(', ') }}){% endmacro %}


{#- The sum of fingerprints as text, which needs more than 64 bits. -#}
{% macro sum_of_fingerprints(value) %}{{ return(adapter.dispatch('sum_of_fingerprints', 'mindo')(value)) }}{% endmacro %}

{% macro default__sum_of_fingerprints(value) -%}
cast(sum(cast({{ value }} as decimal(38, 0))) as {{ mindo.type_text() }})
{%- endmacro %}

{% macro duckdb__sum_of_fingerprints(value) %}cast(sum({{ value }}) as varchar){% endmacro %}

{% macro postgres__sum_of_fingerprints(value) %}cast(sum({{ value }}) as text){% endmacro %}

{% macro redshift__sum_of_fingerprints(value) -%}
cast(sum(cast({{ value }} as decimal(38, 0))) as {{ mindo.type_text() }})
{%- endmacro %}

{% macro bigquery__sum_of_fingerprints(value) %}cast(sum(cast({{ value }} as bignumeric)) as string){% endmacro %}
