{{ config(materialized='view') }}

{%- set same_filters = 'partition by company_id, channel, direction, agent_ids' -%}

with ranges as (

    select
        *,
        lead(range_start) over ({{ same_filters }} order by range_number) as next_range_start,
        min(range_start) over ({{ same_filters }}) as first_start,
        max(range_end) over ({{ same_filters }}) as last_end
    from {{ ref('int_mindo__covered_ranges') }}

),

covered_and_missing as (

    select
        company_id, channel, direction, agent_ids, range_start, range_end,
        false as is_gap, windows, reads, oldest_read_at, newest_read_at, first_start, last_end
    from ranges
    union all
    select
        company_id, channel, direction, agent_ids, range_end, next_range_start,
        true, 0, 0, null, null, first_start, last_end
    from ranges
    where next_range_start is not null

),

measured as (

    select
        *,
        {{ mindo.seconds_between('range_start', 'range_end') }} / 3600 as hours,
        {{ mindo.seconds_between('first_start', 'last_end') }} / 3600 as span_hours
    from covered_and_missing

)

select
    company_id,
    channel,
    direction,
    agent_ids,
    range_start,
    range_end,
    is_gap,
    hours,
    windows,
    reads,
    oldest_read_at,
    newest_read_at,
    last_end as covered_until,
    {{ mindo.seconds_between('last_end', mindo.now()) }} / 3600 as age_hours,
    sum(case when is_gap then 0 else hours end) over ({{ same_filters }}) / nullif(span_hours, 0) as completeness
from measured
