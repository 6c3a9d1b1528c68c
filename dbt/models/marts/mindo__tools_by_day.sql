{{ config(
    enabled=var('mindo_using_tool_calls'),
    materialized='incremental',
    pre_hook="{{ mindo.drop_outdated('day') }}",
) }}

with days as (

    {{ mindo.to_build('day') }}

),

calls as (

    select
        calls.company_id,
        messages.occurred_on,
        coalesce(calls.tool_name, 'unknown') as tool_name,
        calls.conversation_id,
        calls.author_id,
        calls.is_error,
        calls.duration_ms,
        days._version
    from {{ ref('stg_mindo__tool_calls') }} as calls
    inner join {{ ref('int_mindo__messages') }} as messages
        on calls.company_id = messages.company_id
        and calls.message_id = messages.message_id
    inner join days
        on messages.company_id = days.company_id
        and messages.occurred_on = days.occurred_on

)

select
    company_id,
    occurred_on,
    tool_name,
    count(*) as calls,
    count(case when is_error then 1 end) as errors,
    {{ mindo.share('count(case when is_error then 1 end)', 'count(*)') }} as error_rate,
    count(distinct conversation_id) as conversations,
    count(distinct author_id) as agents,
    count(duration_ms) as timed_calls,
    {{ mindo.percentile('duration_ms', 0.5) }} as p50_duration_ms,
    {{ mindo.percentile('duration_ms', 0.95) }} as p95_duration_ms,
    max(_version) as _version
from {{ mindo.with_percentiles('calls', ['company_id', 'occurred_on', 'tool_name'], ['duration_ms']) }}
group by company_id, occurred_on, tool_name
