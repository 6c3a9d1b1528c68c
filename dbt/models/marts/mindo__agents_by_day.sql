{{ config(
    materialized='incremental',
    pre_hook="{{ mindo.drop_outdated('day') }}",
) }}

with days as (

    {{ mindo.to_build('day') }}

),

messages as (

    select
        messages.company_id,
        messages.conversation_id,
        messages.message_id,
        messages.occurred_on,
        messages.author_type,
        coalesce(messages.author_id, 'unknown') as author_id,
        messages.author_name,
        messages.agent_id,
        messages.is_response,
        messages.response_seconds,
        messages.response_business_seconds,
        days._version
    from {{ ref('int_mindo__messages') }} as messages
    inner join days
        on messages.company_id = days.company_id
        and messages.occurred_on = days.occurred_on
    where messages.author_type in ('agent', 'operator')

),

agent_days as (

    select
        company_id,
        occurred_on,
        author_id,
        max(author_name) as agent_name,
        max(agent_id) as agent_id,
        count(*) as messages,
        count(case when is_response then 1 end) as responses,
        {{ mindo.percentile('response_seconds', 0.5) }} as median_response_seconds,
        {{ mindo.percentile('response_seconds', 0.95) }} as p95_response_seconds,
        {{ mindo.percentile('response_business_seconds', 0.5) }} as median_response_business_seconds,
        {{ mindo.percentile('response_business_seconds', 0.95) }} as p95_response_business_seconds,
        max(_version) as _version
    from {{ mindo.with_percentiles(
        'messages',
        ['company_id', 'occurred_on', 'author_id', 'author_type'],
        ['response_seconds', 'response_business_seconds'],
    ) }}
    where author_type = 'agent'
    group by company_id, occurred_on, author_id

),

with_agent as (

    select distinct company_id, occurred_on, author_id, conversation_id
    from messages
    where author_type = 'agent'

),

with_operator as (

    select distinct company_id, occurred_on, conversation_id
    from messages
    where author_type = 'operator'

),

handed_off as (

    {# on the day of the agent's last message, also if the operator came after midnight -#}
    select distinct
        company_id,
        from_occurred_on as occurred_on,
        coalesce(from_author_id, 'unknown') as author_id,
        conversation_id
    from {{ ref('int_mindo__hand_offs') }}
    where from_author_type = 'agent'

),

conversation_days as (

    select
        with_agent.company_id,
        with_agent.occurred_on,
        with_agent.author_id,
        count(*) as conversations,
        count(case when handed_off.conversation_id is not null then 1 end) as handed_off_conversations,
        count(case when handed_off.conversation_id is null and with_operator.conversation_id is null then 1 end)
            as contained_conversations
    from with_agent
    left join handed_off
        on with_agent.company_id = handed_off.company_id
        and with_agent.occurred_on = handed_off.occurred_on
        and with_agent.author_id = handed_off.author_id
        and with_agent.conversation_id = handed_off.conversation_id
    left join with_operator
        on with_agent.company_id = with_operator.company_id
        and with_agent.occurred_on = with_operator.occurred_on
        and with_agent.conversation_id = with_operator.conversation_id
    group by with_agent.company_id, with_agent.occurred_on, with_agent.author_id

)
{%- if var('mindo_using_tool_calls') %},

tool_calls as (

    select
        messages.company_id,
        messages.occurred_on,
        messages.author_id,
        count(*) as tool_calls,
        count(case when calls.is_error then 1 end) as tool_errors
    from {{ ref('stg_mindo__tool_calls') }} as calls
    inner join messages
        on calls.company_id = messages.company_id
        and calls.message_id = messages.message_id
    where messages.author_type = 'agent'
    group by messages.company_id, messages.occurred_on, messages.author_id

)
{%- endif %}

select
    agent_days.company_id,
    agent_days.occurred_on,
    agent_days.author_id as agent_author_id,
    agent_days.agent_id,
    agent_days.agent_name,
    agent_days.messages,
    conversation_days.conversations,
    conversation_days.contained_conversations,
    {{ mindo.share('conversation_days.contained_conversations', 'conversation_days.conversations') }} as containment_rate,
    conversation_days.handed_off_conversations,
    {{ mindo.share('conversation_days.handed_off_conversations', 'conversation_days.conversations') }} as hand_off_rate,
    agent_days.responses,
    agent_days.median_response_seconds,
    agent_days.p95_response_seconds,
    agent_days.median_response_business_seconds,
    agent_days.p95_response_business_seconds,
    {% if var('mindo_using_tool_calls') -%}
    coalesce(tool_calls.tool_calls, 0) as tool_calls,
    coalesce(tool_calls.tool_errors, 0) as tool_errors,
    {{ mindo.share('tool_calls.tool_errors', 'tool_calls.tool_calls') }} as tool_error_rate,
    {%- else -%}
    cast(null as bigint) as tool_calls,
    cast(null as bigint) as tool_errors,
    cast(null as {{ mindo.type_double() }}) as tool_error_rate,
    {%- endif %}
    agent_days._version
from agent_days
inner join conversation_days
    on agent_days.company_id = conversation_days.company_id
    and agent_days.occurred_on = conversation_days.occurred_on
    and agent_days.author_id = conversation_days.author_id
{% if var('mindo_using_tool_calls') -%}
left join tool_calls
    on agent_days.company_id = tool_calls.company_id
    and agent_days.occurred_on = tool_calls.occurred_on
    and agent_days.author_id = tool_calls.author_id
{% endif -%}
