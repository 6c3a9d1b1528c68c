{#- Names of types that databases don't agree on. -#}

{#- Text of any length; Redshift cuts what is cast to `text` after 256 bytes. -#}
{% macro type_text() %}{{ return(adapter.dispatch('type_text', 'mindo')()) }}{% endmacro %}

{% macro default__type_text() %}{{ return('text') }}{% endmacro %}
{% macro bigquery__type_text() %}{{ return('string') }}{% endmacro %}
{% macro databricks__type_text() %}{{ return('string') }}{% endmacro %}
{% macro redshift__type_text() %}{{ return('varchar(65535)') }}{% endmacro %}


{% macro type_double() %}{{ return(adapter.dispatch('type_double', 'mindo')()) }}{% endmacro %}

{% macro default__type_double() %}{{ return('double precision') }}{% endmacro %}
{% macro duckdb__type_double() %}{{ return('double') }}{% endmacro %}
{% macro bigquery__type_double() %}{{ return('float64') }}{% endmacro %}
{% macro databricks__type_double() %}{{ return('double') }}{% endmacro %}


{#- A moment, not a reading of a clock. -#}
{% macro type_moment() %}{{ return(adapter.dispatch('type_moment', 'mindo')()) }}{% endmacro %}

{% macro default__type_moment() %}{{ return('timestamp with time zone') }}{% endmacro %}
{% macro bigquery__type_moment() %}{{ return('timestamp') }}{% endmacro %}
{% macro databricks__type_moment() %}{{ return('timestamp') }}{% endmacro %}
{% macro snowflake__type_moment() %}{{ return('timestamp_tz') }}{% endmacro %}


{#- What a clock on the wall reads, without a zone. -#}
{% macro type_local_time() %}{{ return(adapter.dispatch('type_local_time', 'mindo')()) }}{% endmacro %}

{% macro default__type_local_time() %}{{ return('timestamp') }}{% endmacro %}
{% macro bigquery__type_local_time() %}{{ return('datetime') }}{% endmacro %}
{% macro databricks__type_local_time() %}{{ return('timestamp_ntz') }}{% endmacro %}
{% macro snowflake__type_local_time() %}{{ return('timestamp_ntz') }}{% endmacro %}
