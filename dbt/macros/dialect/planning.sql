{#-
  PostgreSQL knows nothing of rows that a statement has grouped, takes them for few, and compares each with each: hours instead
  of seconds. Ends with the model's transaction.
-#}
{% macro plan_for_many_rows() %}{{ return(adapter.dispatch('plan_for_many_rows', 'mindo')()) }}{% endmacro %}

{% macro default__plan_for_many_rows() %}{% endmacro %}

{% macro postgres__plan_for_many_rows() %}set local enable_nestloop = off{% endmacro %}

{#- dbt would take that of PostgreSQL. -#}
{% macro redshift__plan_for_many_rows() %}{% endmacro %}
