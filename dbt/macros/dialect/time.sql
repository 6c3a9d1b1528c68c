{#- The clock of a time zone at a moment: `moment` has a zone, the result has none. -#}
{% macro local_time(moment, time_zone) %}{{ return(adapter.dispatch('local_time', 'mindo')(moment, time_zone)) }}{% endmacro %}

{% macro default__local_time(moment, time_zone) %}({{ moment }} at time zone {{ time_zone }}){% endmacro %}

{% macro duckdb__local_time(moment, time_zone) %}timezone({{ time_zone }}, {{ moment }}){% endmacro %}

{% macro bigquery__local_time(moment, time_zone) %}datetime({{ moment }}, {{ time_zone }}){% endmacro %}

{% macro snowflake__local_time(moment, time_zone) -%}
cast(convert_timezone({{ time_zone }}, {{ moment }}) as timestamp_ntz)
{%- endmacro %}

{#- CONVERT_TIMEZONE alone would read the moment on the clock of the session. -#}
{% macro redshift__local_time(moment, time_zone) -%}
convert_timezone('UTC', {{ time_zone }}, {{ moment }} at time zone 'UTC')
{%- endmacro %}

{% macro databricks__local_time(moment, time_zone) -%}
convert_timezone(current_timezone(), {{ time_zone }}, cast({{ moment }} as timestamp_ntz))
{%- endmacro %}


{#- The moment at which the clock of a time zone reads `local`; the inverse of local_time. -#}
{% macro moment_of(local, time_zone) %}{{ return(adapter.dispatch('moment_of', 'mindo')(local, time_zone)) }}{% endmacro %}

{% macro default__moment_of(local, time_zone) %}({{ local }} at time zone {{ time_zone }}){% endmacro %}

{% macro duckdb__moment_of(local, time_zone) %}timezone({{ time_zone }}, {{ local }}){% endmacro %}

{% macro bigquery__moment_of(local, time_zone) %}timestamp({{ local }}, {{ time_zone }}){% endmacro %}

{#- A cast to text and back would depend on the formats of the session. -#}
{% macro snowflake__moment_of(local, time_zone) -%}
dateadd(
    microsecond,
    datediff(microsecond, cast('1970-01-01' as timestamp_ntz), convert_timezone({{ time_zone }}, 'UTC', {{ local }})),
    cast('1970-01-01T00:00:00+00:00' as timestamp_tz)
)
{%- endmacro %}

{% macro redshift__moment_of(local, time_zone) -%}
(convert_timezone({{ time_zone }}, 'UTC', {{ local }}) at time zone 'UTC')
{%- endmacro %}

{% macro databricks__moment_of(local, time_zone) -%}
cast(convert_timezone({{ time_zone }}, current_timezone(), {{ local }}) as timestamp)
{%- endmacro %}


{#- The first moment of a date in a time zone: of two midnights, where the clock is turned back to one, the first. -#}
{% macro start_of_day(date, time_zone) -%}
  {%- set midnight = 'cast(' ~ date ~ ' as ' ~ mindo.type_local_time() ~ ')' -%}
  {%- set moment = mindo.moment_of(midnight, time_zone) -%}
case when {{ mindo.local_time(mindo.hour_before(moment), time_zone) }} >= {{ midnight }}
    then {{ mindo.hour_before(moment) }} else {{ moment }} end
{%- endmacro %}


{#- The moment an hour before another. -#}
{% macro hour_before(moment) %}{{ return(adapter.dispatch('hour_before', 'mindo')(moment)) }}{% endmacro %}

{% macro default__hour_before(moment) %}({{ moment }} - interval '1 hour'){% endmacro %}

{% macro snowflake__hour_before(moment) %}dateadd(hour, -1, {{ moment }}){% endmacro %}

{% macro bigquery__hour_before(moment) %}timestamp_sub({{ moment }}, interval 1 hour){% endmacro %}


{#- The moment of asking. -#}
{% macro now() %}{{ return(adapter.dispatch('now', 'mindo')()) }}{% endmacro %}

{% macro default__now() %}current_timestamp{% endmacro %}

{% macro bigquery__now() %}current_timestamp(){% endmacro %}

{% macro databricks__now() %}current_timestamp(){% endmacro %}

{% macro redshift__now() %}cast(getdate() as timestamp with time zone){% endmacro %}


{#- Days from a date to another; negative if the second is earlier. -#}
{% macro days_between(first, second) %}{{ return(adapter.dispatch('days_between', 'mindo')(first, second)) }}{% endmacro %}

{% macro default__days_between(first, second) %}datediff(day, {{ first }}, {{ second }}){% endmacro %}

{% macro duckdb__days_between(first, second) %}date_diff('day', {{ first }}, {{ second }}){% endmacro %}

{% macro postgres__days_between(first, second) %}({{ second }} - {{ first }}){% endmacro %}

{% macro redshift__days_between(first, second) %}datediff(day, {{ first }}, {{ second }}){% endmacro %}

{% macro bigquery__days_between(first, second) %}date_diff({{ second }}, {{ first }}, day){% endmacro %}

{% macro databricks__days_between(first, second) %}datediff({{ second }}, {{ first }}){% endmacro %}


{#- The date so many days after another; `days` is an integer. -#}
{% macro days_after(date, days) %}{{ return(adapter.dispatch('days_after', 'mindo')(date, days)) }}{% endmacro %}

{% macro default__days_after(date, days) %}cast(dateadd(day, {{ days }}, {{ date }}) as date){% endmacro %}

{% macro duckdb__days_after(date, days) %}({{ date }} + ({{ days }})){% endmacro %}

{% macro postgres__days_after(date, days) %}({{ date }} + ({{ days }})){% endmacro %}

{% macro redshift__days_after(date, days) %}cast(dateadd(day, {{ days }}, {{ date }}) as date){% endmacro %}

{% macro bigquery__days_after(date, days) %}date_add({{ date }}, interval ({{ days }}) day){% endmacro %}

{% macro databricks__days_after(date, days) %}date_add({{ date }}, {{ days }}){% endmacro %}


{#- The first day of a date's month. -#}
{% macro first_of_month(date) %}{{ return(adapter.dispatch('first_of_month', 'mindo')(date)) }}{% endmacro %}

{% macro default__first_of_month(date) %}cast(date_trunc('month', {{ date }}) as date){% endmacro %}

{% macro bigquery__first_of_month(date) %}date_trunc({{ date }}, month){% endmacro %}


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

{#- DATEDIFF counts on clocks, and those of two moments can differ. -#}
{% macro snowflake__seconds_between(first, second) -%}
((date_part(epoch_microsecond, {{ second }}) - date_part(epoch_microsecond, {{ first }})) / cast(1000000 as double precision))
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


{#- Seconds without what is beyond microseconds. -#}
{% macro whole_microseconds(seconds) %}{{ return(adapter.dispatch('whole_microseconds', 'mindo')(seconds)) }}{% endmacro %}

{% macro default__whole_microseconds(seconds) %}cast(cast({{ seconds }} as numeric(20, 6)) as {{ mindo.type_double() }}){% endmacro %}

{% macro bigquery__whole_microseconds(seconds) %}round({{ seconds }}, 6){% endmacro %}


{#- Whether the database can tell the time in a zone. Where it can't be asked, whatever is there is taken for a zone. -#}
{% macro is_time_zone(name) %}{{ return(adapter.dispatch('is_time_zone', 'mindo')(name)) }}{% endmacro %}

{% macro default__is_time_zone(name) %}({{ name }} is not null){% endmacro %}

{% macro duckdb__is_time_zone(name) -%}
({{ name }} is not null and {{ name }} in (select zones.name from pg_timezone_names() as zones))
{%- endmacro %}

{#- dbt would take that of PostgreSQL, whose list of zones Redshift doesn't have. -#}
{% macro redshift__is_time_zone(name) %}({{ name }} is not null){% endmacro %}

{% macro postgres__is_time_zone(name) -%}
({{ name }} is not null and {{ name }} in (select zones.name from pg_timezone_names as zones))
{%- endmacro %}
