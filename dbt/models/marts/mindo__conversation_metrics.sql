{{ config(
    materialized='incremental',
    pre_hook="{{ mindo.drop_outdated('conversation') }}",
) }}

{%- set responders = {'': none, 'ai_': 'agent', 'operator_': 'operator'} -%}
{%- set response_times = [] -%}
{%- for prefix in responders -%}
{%- do response_times.extend([prefix ~ 'response_seconds', prefix ~ 'response_business_seconds']) -%}
{%- endfor %}

with conversations as (

    {{ mindo.to_build('conversation') }}

),

messages as (

    select
        messages.*,
        {% for prefix, author_type in responders.items() if author_type -%}
        case when messages.author_type = '{{ author_type }}' then messages.response_seconds end as {{ prefix }}response_seconds,
        case when messages.author_type = '{{ author_type }}' then messages.response_business_seconds end
            as {{ prefix }}response_business_seconds,
        {% endfor -%}
        min(case when messages.author_type = 'contact' then messages.message_number end)
            over (partition by messages.company_id, messages.conversation_id) as first_contact_message,
        coalesce(companies.time_zone, {{ mindo.default_time_zone() }}) as time_zone
    from {{ ref('int_mindo__messages') }} as messages
    inner join conversations
        on messages.company_id = conversations.company_id
        and messages.conversation_id = conversations.conversation_id
    left join {{ ref('int_mindo__companies') }} as companies on messages.company_id = companies.company_id

),

measured as (

    select
        company_id,
        conversation_id,
        min(time_zone) as time_zone,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        min(case when author_type = 'contact' then occurred_at end) as first_contact_message_at,
        {% for prefix, author_type in responders.items() -%}
        {%- set reply = "author_type = '" ~ author_type ~ "'" if author_type else "author_type in ('agent', 'operator')" -%}
        {%- set response = 'is_response and ' ~ reply -%}
        min(case when {{ reply }} and message_number > first_contact_message then occurred_at end) as first_{{ prefix }}response_at,
        count(case when {{ response }} then 1 end) as {{ prefix }}responses,
        {% for unit in ['seconds', 'business_seconds'] -%}
        {%- set value = prefix ~ 'response_' ~ unit -%}
        {{ mindo.percentile(value, 0.5) }} as median_{{ prefix }}response_{{ unit }},
        {{ mindo.percentile(value, 0.95) }} as p95_{{ prefix }}response_{{ unit }},
        {% endfor %}
        {%- endfor -%}
        max(response_seconds) as longest_response_seconds,
        max(_version) as _version
    from {{ mindo.with_percentiles('messages', ['company_id', 'conversation_id'], response_times) }}
    group by company_id, conversation_id

),

on_the_clock as (

    select
        *,
        {{ mindo.local_time('first_contact_message_at', 'time_zone') }} as first_contact_message_local,
        {% for prefix in responders -%}
        {{ mindo.local_time('first_' ~ prefix ~ 'response_at', 'time_zone') }} as first_{{ prefix }}response_local{{ ',' if not loop.last }}
        {% endfor %}
    from measured

)

select
    company_id,
    conversation_id,
    {{ mindo.seconds_between('started_at', 'ended_at') }} as duration_seconds,
    first_contact_message_at,
    {% for prefix in responders -%}
    {%- set first = 'first_' ~ prefix ~ 'response' -%}
    {{ first }}_at,
    {{ mindo.seconds_between('first_contact_message_at', first ~ '_at') }} as {{ first }}_seconds,
    {{ mindo.business_seconds_between('first_contact_message_local', first ~ '_local') }} as {{ first }}_business_seconds,
    {{ prefix }}responses,
    {% for unit in ['seconds', 'business_seconds'] -%}
    median_{{ prefix }}response_{{ unit }},
    p95_{{ prefix }}response_{{ unit }},
    {% endfor %}
    {%- endfor -%}
    longest_response_seconds,
    _version
from on_the_clock
