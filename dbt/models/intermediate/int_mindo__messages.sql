{{ config(
    materialized='incremental',
    pre_hook="{{ mindo.drop_outdated('conversation') }}",
) }}

{%- set same_conversation = 'partition by company_id, conversation_id' -%}
{%- set in_order = same_conversation ~ ' order by occurred_at, tie_position, tie_side, message_id' -%}
{%- set up_to_here = in_order ~ ' rows between unbounded preceding and current row' -%}

with conversations as (

    {{ mindo.to_build('conversation') }}

),

messages as (

    select
        messages.*,
        coalesce(companies.time_zone, {{ mindo.default_time_zone() }}) as time_zone,
        case when messages.author_type in ('agent', 'operator') then 1 else 0 end as reply,
        coalesce(messages.thread_position, 0) as tie_position,
        case when messages.author_type = 'contact' then 0 else 1 end as tie_side,
        conversations._version
    from {{ ref('stg_mindo__messages') }} as messages
    inner join conversations
        on messages.company_id = conversations.company_id
        and messages.conversation_id = conversations.conversation_id
    left join {{ ref('int_mindo__companies') }} as companies on messages.company_id = companies.company_id

),

in_order as (

    select
        *,
        row_number() over ({{ in_order }}) as message_number,
        lag(author_type) over ({{ in_order }}) as previous_author_type,
        lag(author_id) over ({{ in_order }}) as previous_author_id,
        lag(occurred_at) over ({{ in_order }}) as previous_occurred_at,
        sum(reply) over ({{ up_to_here }}) - reply as replies_before
    from messages

),

compared as (

    select
        *,
        {{ mindo.seconds_between('previous_occurred_at', 'occurred_at') }} as seconds_since_previous,
        {# what the contact wrote since the last reply; the next reply answers it -#}
        min(case when author_type = 'contact' then occurred_at end)
            over ({{ same_conversation }}, replies_before) as waiting_since
    from in_order

),

marked as (

    select
        *,
        case
            when message_number = 1 then 1
            when seconds_since_previous > {{ mindo.session_gap_seconds() }} then 1
            else 0
        end as session_start
    from compared

),

turned as (

    select
        *,
        {{ mindo.local_time('occurred_at', 'time_zone') }} as occurred_at_local,
        case
            when reply = 1 then {{ mindo.local_time('waiting_since', 'time_zone') }}
        end as waiting_since_local,
        case
            when session_start = 1 then 1
            when author_type <> previous_author_type then 1
            when coalesce(author_id, '') <> coalesce(previous_author_id, '') then 1
            else 0
        end as turn_start,
        reply = 1 and waiting_since is not null as is_response
    from marked

)

select
    company_id,
    conversation_id,
    message_id,
    message_number,
    cast(sum(session_start) over ({{ up_to_here }}) as bigint) as session_number,
    cast(sum(turn_start) over ({{ up_to_here }}) as bigint) as turn_number,
    occurred_at,
    occurred_at_local,
    cast(occurred_at_local as date) as occurred_on,
    channel,
    platform,
    direction,
    author_type,
    author_id,
    author_name,
    agent_id,
    content_type,
    trace_id,
    previous_author_type,
    previous_author_id,
    previous_occurred_at,
    seconds_since_previous,
    is_response,
    case when is_response then waiting_since end as waiting_since,
    case when is_response then {{ mindo.seconds_between('waiting_since', 'occurred_at') }} end as response_seconds,
    {{ mindo.business_seconds_between('waiting_since_local', 'occurred_at_local') }} as response_business_seconds,
    _version
from turned
