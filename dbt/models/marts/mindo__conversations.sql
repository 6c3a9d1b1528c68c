{{ config(
    materialized='incremental',
    pre_hook="{{ mindo.drop_outdated('conversation') }}",
) }}

with conversations as (

    {{ mindo.to_build('conversation') }}

),

counted as (

    select
        messages.company_id,
        messages.conversation_id,
        min(messages.occurred_at) as started_at,
        max(messages.occurred_at) as ended_at,
        min(messages.occurred_on) as started_on,
        max(messages.occurred_on) as ended_on,
        min(case when messages.message_number = 1 then messages.channel end) as channel,
        min(case when messages.message_number = 1 then messages.platform end) as platform,
        min(case when messages.message_number = 1 then messages.author_type end) as started_by,
        min(case when messages.author_type = 'contact' then messages.author_id end) as contact_id,
        count(distinct case when messages.author_type = 'contact' then messages.author_id end) as contacts,
        count(*) as messages,
        count(case when messages.author_type = 'contact' then 1 end) as contact_messages,
        count(case when messages.author_type = 'agent' then 1 end) as agent_messages,
        count(case when messages.author_type = 'operator' then 1 end) as operator_messages,
        count(case when messages.author_type not in ('contact', 'agent', 'operator') then 1 end) as other_messages,
        count(case when messages.is_response then 1 end) as responses,
        max(messages.session_number) as sessions,
        max(messages.turn_number) as turns,
        count(distinct messages.trace_id) as traces,
        max(case when messages.author_type = 'contact' then messages.message_number else 0 end) as last_contact_message,
        max(case when messages.author_type in ('agent', 'operator') then messages.message_number else 0 end) as last_reply,
        max(messages._version) as _version
    from {{ ref('int_mindo__messages') }} as messages
    inner join conversations
        on messages.company_id = conversations.company_id
        and messages.conversation_id = conversations.conversation_id
    group by messages.company_id, messages.conversation_id

),

hand_offs as (

    select
        company_id,
        conversation_id,
        count(*) as hand_offs,
        count(case when from_author_type = 'agent' then 1 end) as hand_offs_to_operator,
        min(case when from_author_type = 'agent' then occurred_at end) as first_handed_off_at
    from {{ ref('int_mindo__hand_offs') }}
    group by company_id, conversation_id

)
{%- if var('mindo_using_tool_calls') %},

tool_calls as (

    select
        calls.company_id,
        calls.conversation_id,
        count(*) as tool_calls,
        count(case when calls.is_error then 1 end) as tool_errors
    from {{ ref('stg_mindo__tool_calls') }} as calls
    inner join conversations
        on calls.company_id = conversations.company_id
        and calls.conversation_id = conversations.conversation_id
    group by calls.company_id, calls.conversation_id

)
{%- endif %}
{%- if var('mindo_using_classifications') %},

distinct_labels as (

    select distinct labels.company_id, labels.conversation_id, labels.label || ': ' || labels.value as label
    from {{ ref('stg_mindo__classifications') }} as labels
    inner join conversations
        on labels.company_id = conversations.company_id
        and labels.conversation_id = conversations.conversation_id
    where labels.label is not null and labels.value is not null

),

labels as (

    select
        company_id,
        conversation_id,
        {{ mindo.joined_texts('label', ', ') }} as labels
    from distinct_labels
    group by company_id, conversation_id

)
{%- endif %}

select
    counted.company_id,
    counted.conversation_id,
    counted.channel,
    counted.platform,
    counted.contact_id,
    counted.contacts,
    counted.started_at,
    counted.ended_at,
    counted.started_on,
    counted.ended_on,
    counted.started_by,
    counted.messages,
    counted.contact_messages,
    counted.agent_messages,
    counted.operator_messages,
    counted.other_messages,
    counted.turns,
    counted.sessions,
    counted.responses,
    coalesce(hand_offs.hand_offs, 0) as hand_offs,
    coalesce(hand_offs.hand_offs_to_operator, 0) as hand_offs_to_operator,
    hand_offs.first_handed_off_at,
    counted.agent_messages > 0 and counted.operator_messages = 0 as is_ai_only,
    counted.operator_messages > 0 and counted.agent_messages = 0 as is_operator_only,
    coalesce(hand_offs.hand_offs_to_operator, 0) > 0 as is_handed_off,
    counted.contact_messages > 0 and counted.responses = 0 as is_unanswered,
    counted.last_contact_message > counted.last_reply as is_awaiting_reply,
    {% if var('mindo_using_tool_calls') -%}
    coalesce(tool_calls.tool_calls, 0) as tool_calls,
    coalesce(tool_calls.tool_errors, 0) as tool_errors,
    {% else -%}
    cast(null as bigint) as tool_calls,
    cast(null as bigint) as tool_errors,
    {% endif -%}
    counted.traces,
    {{ 'labels.labels' if var('mindo_using_classifications') else 'cast(null as ' ~ mindo.type_text() ~ ')' }} as labels,
    counted._version
from counted
left join hand_offs
    on counted.company_id = hand_offs.company_id
    and counted.conversation_id = hand_offs.conversation_id
{% if var('mindo_using_tool_calls') -%}
left join tool_calls
    on counted.company_id = tool_calls.company_id
    and counted.conversation_id = tool_calls.conversation_id
{% endif -%}
{% if var('mindo_using_classifications') -%}
left join labels
    on counted.company_id = labels.company_id
    and counted.conversation_id = labels.conversation_id
{% endif -%}
