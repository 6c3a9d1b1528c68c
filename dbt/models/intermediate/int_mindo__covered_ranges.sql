{{ config(materialized='table') }}

{#- What was read completely, as ranges without overlap: adjacent and overlapping windows of the same filters are one. -#}
{%- set same_filters = 'partition by company_id, channel, direction, agent_ids' -%}
{%- set by_start = same_filters ~ ' order by window_start, window_end' -%}

with windows as (

    select
        company_id,
        channel,
        direction,
        agent_ids,
        window_start,
        window_end,
        count(*) as reads,
        max(finished_at) as last_read_at
    from {{ ref('stg_mindo__export_windows') }}
    group by company_id, channel, direction, agent_ids, window_start, window_end

),

compared as (

    select
        *,
        max(window_end) over ({{ by_start }} rows between unbounded preceding and 1 preceding) as covered_until
    from windows

),

numbered as (

    select
        *,
        cast(sum(case when covered_until >= window_start then 0 else 1 end)
            over ({{ by_start }} rows between unbounded preceding and current row) as bigint) as range_number
    from compared

)

select
    company_id,
    channel,
    direction,
    agent_ids,
    range_number,
    min(window_start) as range_start,
    max(window_end) as range_end,
    count(*) as windows,
    cast(sum(reads) as bigint) as reads,
    min(last_read_at) as oldest_read_at,
    max(last_read_at) as newest_read_at
from numbered
group by company_id, channel, direction, agent_ids, range_number
