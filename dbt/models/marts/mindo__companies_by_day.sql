{%- set unfiltered = "channel = 'all' and direction = 'all' and agent_ids = 'all'" -%}

with windows as (

    select distinct
        windows.company_id,
        windows.window_end,
        companies.time_zone,
        cast({{ mindo.local_time('windows.window_start', 'companies.time_zone') }} as date) as first_day
    from {{ ref('stg_mindo__export_windows') }} as windows
    inner join {{ ref('int_mindo__companies') }} as companies on windows.company_id = companies.company_id
    where {{ unfiltered }}

),

numbers as (

    {# a window is 31 days at most and touches a day more #}
    {{ dbt.generate_series(33) }}

),

window_days as (

    select
        windows.*,
        {{ mindo.days_after('windows.first_day', 'cast(numbers.generated_number as integer) - 1') }} as occurred_on
    from windows
    cross join numbers

),

days_read as (

    {# every day that a window touches, so that a quiet day has its row -#}
    select distinct company_id, occurred_on
    from window_days
    where {{ mindo.start_of_day('occurred_on', 'time_zone') }} < window_end

),

days_written as (

    select
        company_id,
        occurred_on,
        count(*) as messages,
        count(case when author_type = 'contact' then 1 end) as contact_messages,
        count(case when author_type = 'agent' then 1 end) as agent_messages,
        count(case when author_type = 'operator' then 1 end) as operator_messages,
        count(case when author_type not in ('contact', 'agent', 'operator') then 1 end) as other_messages,
        count(distinct conversation_id) as conversations,
        count(distinct case when author_type = 'contact' then author_id end) as contacts,
        count(case when is_response then 1 end) as responses,
        {{ mindo.percentile('response_seconds', 0.5) }} as median_response_seconds,
        {{ mindo.percentile('response_seconds', 0.95) }} as p95_response_seconds,
        {{ mindo.percentile('response_business_seconds', 0.5) }} as median_response_business_seconds,
        {{ mindo.percentile('response_business_seconds', 0.95) }} as p95_response_business_seconds
    from {{ mindo.with_percentiles(
        ref('int_mindo__messages'), ['company_id', 'occurred_on'], ['response_seconds', 'response_business_seconds']
    ) }}
    group by company_id, occurred_on

),

days_begun as (

    select
        company_id,
        started_on as occurred_on,
        count(*) as new_conversations,
        count(case when is_ai_only then 1 end) as new_ai_only_conversations,
        count(case when is_handed_off then 1 end) as new_handed_off_conversations,
        count(case when is_unanswered then 1 end) as new_unanswered_conversations
    from {{ ref('mindo__conversations') }}
    group by company_id, started_on

),

days as (

    select
        days.company_id,
        days.occurred_on,
        companies.company_name,
        coalesce(companies.time_zone, {{ mindo.default_time_zone() }}) as time_zone
    from (
        select company_id, occurred_on from days_read
        union all
        select company_id, occurred_on from days_written
    ) as days
    left join {{ ref('int_mindo__companies') }} as companies on days.company_id = companies.company_id
    group by days.company_id, days.occurred_on, companies.company_name, companies.time_zone

),

days_covered as (

    select distinct days.company_id, days.occurred_on
    from days
    inner join {{ ref('int_mindo__covered_ranges') }} as ranges
        on days.company_id = ranges.company_id
        and ranges.range_start <= {{ mindo.start_of_day('days.occurred_on', 'days.time_zone') }}
        and ranges.range_end >= {{ mindo.start_of_day(mindo.days_after('days.occurred_on', 1), 'days.time_zone') }}
    where {{ unfiltered }}

)

select
    days.company_id,
    days.company_name,
    days.time_zone,
    days.occurred_on,
    days_covered.company_id is not null as is_complete,
    {% for count in ['messages', 'contact_messages', 'agent_messages', 'operator_messages', 'other_messages', 'conversations', 'contacts', 'responses'] -%}
    coalesce(days_written.{{ count }}, 0) as {{ count }},
    {% endfor -%}
    days_written.median_response_seconds,
    days_written.p95_response_seconds,
    days_written.median_response_business_seconds,
    days_written.p95_response_business_seconds,
    {% for count in ['new_conversations', 'new_ai_only_conversations', 'new_handed_off_conversations', 'new_unanswered_conversations'] -%}
    coalesce(days_begun.{{ count }}, 0) as {{ count }}{{ ',' if not loop.last }}
    {% endfor -%}
from days
left join days_written on days.company_id = days_written.company_id and days.occurred_on = days_written.occurred_on
left join days_begun on days.company_id = days_begun.company_id and days.occurred_on = days_begun.occurred_on
left join days_covered on days.company_id = days_covered.company_id and days.occurred_on = days_covered.occurred_on
