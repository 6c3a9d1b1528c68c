{#- The clock of a time zone at a moment: `moment` has a zone, the result has none. -#}
{% macro local_time(moment, time_zone) %}{{ return(adapter.dispatch('local_time', 'mindo')(moment, time_zone)) }}{% endmacro %}

{% macro default__local_time(moment, time_zone) %}({{ moment }} at time zone {{ time_zone }}){% endmacro %}

{% macro duckdb__local_time(moment, time_zone) %}timezone({{ time_zone }}, {{ moment }}){% endmacro %}

{% macro bigquery__local_time(moment, time_zone) %}datetime({{ moment }}, {{ time_zone }}){% endmacro %}

{% macro snowflake__local_time(moment, time_zone) -%}
cast(convert_timezone({{ time_zone }}, {{ moment }}) as timestamp_ntz)
{%- endmacro %}

{% macro databricks__local_time(moment, time_zone) -%}
convert_timezone(current_timezone(), {{ time_zone }}, cast({{ moment }} as timestamp_ntz))
{%- endmacro %}


{#- The moment at which the clock of a time zone reads `local`; the inverse of local_time. -#}
{% macro moment_of(local, time_zone) %}{{ return(adapter.dispatch('moment_of', 'mindo')(local, time_zone)) }}{% endmacro %}

{% macro default__moment_of(local, time_zone) %}({{ local }} at time zone {{ time_zone }}){% endmacro %}

{% macro duckdb__moment_of(local, time_zone) %}timezone({{ time_zone }}, {{ local }}){% endmacro %}

{% macro bigquery__moment_of(local, time_zone) %}timestamp({{ local }}, {{ time_zone }}){% endmacro %}

{% macro snowflake__moment_of(local, time_zone) -%}
cast(cast(convert_timezone({{ time_zone }}, 'UTC', {{ local }}) as varchar) || ' +0000' as timestamp_tz)
{%- endmacro %}

{% macro databricks__moment_of(local, time_zone) -%}
cast(convert_timezone({{ time_zone }}, current_timezone(), {{ local }}) as timestamp)
{%- endmacro %}


{#- The first moment of a date in a time zone. -#}
{% macro start_of_day(date, time_zone) -%}
{{ mindo.moment_of('cast(' ~ date ~ ' as ' ~ mindo.type_local_time() ~ ')', time_zone) }}
{%- endmacro %}


{#- Seconds between two moments, with microseconds; negative if the second is earlier. -#}
{% macro seconds_between(first, second) %}{{ return(adapter.dispatch('seconds_between', 'mindo')(first, second)) }}{% endmacro %}

{% macro default__seconds_between(first, second) -%}
(datediff(microsecond, {{ first }}, {{ second }}) / cast(1000000 as {{ mindo.type_double() }}))
{%- endmacro %}

{% macro duckdb__seconds_between(first, second) -%}
((epoch_us({{ second }}) - epoch_us({{ first }})) / 1000000.0::double)
{%- endmacro %}

{% macro postgres__seconds_between(first, second) -%}
cast(extract(epoch from ({{ second }} - {{ first }})) as double precision)
{%- endmacro %}

{% macro redshift__seconds_between(first, second) -%}
(datediff(microsecond, {{ first }}, {{ second }}) / cast(1000000 as double precision))
{%- endmacro %}

{% macro bigquery__seconds_between(first, second) -%}
(timestamp_diff({{ second }}, {{ first }}, microsecond) / 1000000)
{%- endmacro %}

{% macro databricks__seconds_between(first, second) -%}
((unix_micros({{ second }}) - unix_micros({{ first }})) / cast(1000000 as double))
{%- endmacro %}


{#- Seconds since midnight on a clock, with microseconds. -#}
{% macro second_of_day(local) %}{{ return(adapter.dispatch('second_of_day', 'mindo')(local)) }}{% endmacro %}

{% macro default__second_of_day(local) -%}
{{ mindo.seconds_between('cast(cast(' ~ local ~ ' as date) as ' ~ mindo.type_local_time() ~ ')', local) }}
{%- endmacro %}

{% macro bigquery__second_of_day(local) -%}
(datetime_diff({{ local }}, datetime_trunc({{ local }}, day), microsecond) / 1000000)
{%- endmacro %}

{% macro databricks__second_of_day(local) -%}
(datediff(microsecond, date_trunc('DAY', {{ local }}), {{ local }}) / cast(1000000 as double))
{%- endmacro %}


{#- Whether the database can tell the time in a zone. Where it can't be asked, whatever is there is taken for a zone. -#}
{% macro is_time_zone(name) %}{{ return(adapter.dispatch('is_time_zone', 'mindo')(name)) }}{% endmacro %}

{% macro default__is_time_zone(name) %}({{ name }} is not null){% endmacro %}

{% macro duckdb__is_time_zone(name) -%}
({{ name }} is not null and {{ name }} in (select zones.name from pg_timezone_names() as zones))
{%- endmacro %}

{% macro postgres__is_time_zone(name) -%}
({{ name }} is not null and {{ name }} in (select zones.name from pg_timezone_names as zones))
{%- endmacro %}
