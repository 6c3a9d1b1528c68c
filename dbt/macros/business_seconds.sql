{#-
  Business seconds between two readings of one clock. Counted on the clock: an hour that a clock change skips or repeats
  inside business hours counts once, as on the clock. Where it was turned back in between, and reads less than before, it is 0.
-#}
{% macro business_seconds_between(first_local, second_local) -%}
{%- set seconds -%}
    ({{ mindo._business_seconds_of_days_before(second_local) }} - {{ mindo._business_seconds_of_days_before(first_local) }})
    + ({{ mindo._business_seconds_of_day_until(second_local) }} - {{ mindo._business_seconds_of_day_until(first_local) }})
{%- endset -%}
case when {{ second_local }} < {{ first_local }} then 0 else {{ mindo.whole_microseconds(seconds) }} end
{%- endmacro %}


{#- Days from Monday, 5 January 1970: full weeks, and days of the week that is not over. -#}
{% macro _weeks_and_day(local) %}
  {%- set days = mindo.days_between("cast('1970-01-05' as date)", 'cast(' ~ local ~ ' as date)') -%}
  {%- set weeks = 'floor(' ~ days ~ ' / 7.0)' -%}
  {{ return({'weeks': weeks, 'day': '(' ~ days ~ ' - 7 * ' ~ weeks ~ ')'}) }}
{% endmacro %}


{% macro _business_seconds_of_days_before(local) -%}
  {%- set hours = mindo.business_hours() -%}
  {%- set date = mindo._weeks_and_day(local) -%}
({{ date.weeks }} * {{ hours.week }} + case {{ date.day }}{% for n in range(1, 7) %} when {{ n }} then {{ hours.before[n] }}{% endfor %} else 0 end)
{%- endmacro %}


{% macro _business_seconds_of_day_until(local) -%}
  {%- set hours = mindo.business_hours() -%}
  {%- set open = 'least(greatest(' ~ mindo.second_of_day(local) ~ ' - ' ~ hours.start ~ ', 0), ' ~ (hours.end - hours.start) ~ ')' -%}
  {%- set closed = range(7) | reject('in', hours.days) | list -%}
  {%- if closed -%}
case {{ mindo._weeks_and_day(local).day }}{% for day in closed %} when {{ day }} then 0{% endfor %} else {{ open }} end
  {%- else -%}
{{ open }}
  {%- endif -%}
{%- endmacro %}


{#- A share, empty where there is nothing to share. -#}
{% macro share(part, whole) -%}
(cast({{ part }} as {{ mindo.type_double() }}) / nullif({{ whole }}, 0))
{%- endmacro %}
