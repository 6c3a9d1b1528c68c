{{ config(materialized='table') }}

{#- A table, because asking a database which time zones it knows takes its time. -#}
select company_id, company_name, reported_time_zone, is_time_zone_known, time_zone
from {{ ref('stg_mindo__companies') }}
