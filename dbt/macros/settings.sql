{#- The variables of the package, checked. A wrong one ends dbt with a line that begins with "mindo: ". -#}

{% macro wrong_setting(name, what) %}
  {{ exceptions.raise_compiler_error("mindo: " ~ name ~ ": " ~ (var(name) | string) ~ " " ~ what) }}
{% endmacro %}


{% macro session_gap_seconds() %}
  {%- set minutes = var('mindo_session_gap_minutes') -%}
  {%- if minutes is not number or minutes is boolean or minutes <= 0 -%}
    {{ mindo.wrong_setting('mindo_session_gap_minutes', 'is not a number of minutes above 0.') }}
  {%- endif -%}
  {{ return(minutes * 60) }}
{% endmacro %}


{% macro default_time_zone() %}
  {%- set name = var('mindo_time_zone') -%}
  {%- if not modules.re.fullmatch('[A-Za-z0-9_+/-]+', name | string) -%}
    {{ mindo.wrong_setting('mindo_time_zone', 'is not an IANA time zone like America/Argentina/Buenos_Aires.') }}
  {%- endif -%}
  {{ return("'" ~ name ~ "'") }}
{% endmacro %}


{#- Second of the day of a time like 09:30; 24:00 is the end of the day. -#}
{% macro _second_of(name) %}
  {%- set match = modules.re.fullmatch('([01]?[0-9]|2[0-4]):([0-5][0-9])', var(name) | string) -%}
  {%- set second = (match.group(1) | int) * 3600 + (match.group(2) | int) * 60 if match else none -%}
  {%- if second is none or second > 86400 -%}
    {{ mindo.wrong_setting(name, 'is not a time like "09:30", in quotes.') }}
  {%- endif -%}
  {{ return(second) }}
{% endmacro %}


{#-
  Business hours as numbers: `start` and `end` in seconds of the day, `days` numbered from Monday = 0, `week` seconds of a
  week, and `before`: for each day of the week, the business seconds of the days before it.
-#}
{% macro business_hours() %}
  {%- set start, end = mindo._second_of('mindo_business_start'), mindo._second_of('mindo_business_end') -%}
  {%- if start >= end -%}
    {{ mindo.wrong_setting('mindo_business_end', 'is not after mindo_business_start; hours over midnight are not supported.') }}
  {%- endif -%}
  {%- set days = [] -%}
  {%- for day in var('mindo_business_days') -%}
    {%- if day is not integer or day < 1 or day > 7 -%}
      {{ mindo.wrong_setting('mindo_business_days', 'is not a list of days from 1, Monday, to 7.') }}
    {%- endif -%}
    {%- do days.append(day - 1) -%}
  {%- endfor -%}
  {%- if not days -%}
    {{ mindo.wrong_setting('mindo_business_days', 'is not a list of days from 1, Monday, to 7.') }}
  {%- endif -%}
  {%- set before = [] -%}
  {%- for day in range(8) -%}
    {%- do before.append((days | unique | select('lt', day) | list | length) * (end - start)) -%}
  {%- endfor -%}
  {{ return({'start': start, 'end': end, 'days': days | unique | sort, 'before': before[:7], 'week': before[7]}) }}
{% endmacro %}


{#- A list of texts as SQL literals in lower case, and one that no text equals if it is empty. -#}
{% macro text_list(name) %}
  {%- set values = var(name) -%}
  {%- if values is string or values is not sequence -%}
    {{ mindo.wrong_setting(name, 'is not a list.') }}
  {%- endif -%}
  {%- set literals = [] -%}
  {%- for value in values -%}
    {%- do literals.append("'" ~ (value | string | lower | replace("'", "''")) ~ "'") -%}
  {%- endfor -%}
  {{ return(literals | join(', ') if literals else 'null') }}
{% endmacro %}


{#- A list of company ids as SQL, and one that no company has if it is empty. -#}
{% macro company_ids(name) %}
  {%- set ids = var(name) -%}
  {%- if ids is string or ids is not sequence or ids | reject('integer') | list -%}
    {{ mindo.wrong_setting(name, 'is not a list of company ids.') }}
  {%- endif -%}
  {{ return(ids | join(', ') if ids else '-1') }}
{% endmacro %}


{#- mindo_coverage_start as a moment, UTC. -#}
{% macro coverage_start() %}
  {%- set date = var('mindo_coverage_start') | string -%}
  {%- if not modules.re.fullmatch('[0-9]{4}-[0-9]{2}-[0-9]{2}', date) -%}
    {{ mindo.wrong_setting('mindo_coverage_start', 'is not a date like 2026-01-31.') }}
  {%- endif -%}
  {{ return(mindo.start_of_day("cast('" ~ date ~ "' as date)", "'UTC'")) }}
{% endmacro %}


{#-
  Changes with every setting, and with the SQL of every model, that changes what a conversation's rows hold. Macros can't be
  seen from here: who changes what one of them gives raises the number.
-#}
{% macro settings_fingerprint() %}
  {%- set values = [
    mindo.session_gap_seconds(),
    mindo.default_time_zone(),
    mindo.business_hours(),
    mindo.text_list('mindo_tool_error_statuses'),
  ] -%}
  {%- for name in [
    'mindo_using_classifications', 'mindo_using_extractions', 'mindo_using_tool_calls',
    'mindo_extraction_field_column', 'mindo_extraction_value_column',
    'mindo_tool_duration_column', 'mindo_tool_error_column',
  ] -%}
    {%- do values.append(var(name)) -%}
  {%- endfor -%}
  {%- if execute -%}
    {%- for node in graph.nodes.values() | sort(attribute='unique_id') if node.package_name == 'mindo' and node.resource_type == 'model' -%}
      {%- do values.append(node.raw_code) -%}
    {%- endfor -%}
  {%- endif -%}
  {{ return(local_md5('macros 1 ' ~ (values | string))) }}
{% endmacro %}
