{%- set table = mindo.loaded_table('companies') -%}
{%- set text = mindo.type_text() -%}

with named as (

    select
        {{ mindo.loaded_column(table, 'company_id', 'bigint') }} as company_id,
        {{ mindo.loaded_column(table, 'name', text) }} as company_name,
        {{ mindo.loaded_column(table, 'timezone', text) }} as reported_time_zone
    {{ mindo.from_loaded(table) }}

),

read_from as (

    select distinct company_id from {{ ref('stg_mindo__export_windows') }}

),

companies as (

    select
        coalesce(named.company_id, read_from.company_id) as company_id,
        named.company_name,
        named.reported_time_zone
    from named
    full outer join read_from on named.company_id = read_from.company_id

)

select
    company_id,
    company_name,
    reported_time_zone,
    {{ mindo.is_time_zone('reported_time_zone') }} as is_time_zone_known,
    case
        when {{ mindo.is_time_zone('reported_time_zone') }} then reported_time_zone
        else {{ mindo.default_time_zone() }}
    end as time_zone
from companies
