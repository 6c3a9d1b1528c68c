-- How long do people wait for a first answer, month by month, and how long within business hours?
with conversations as (

    select
        conversations.company_id,
        {{ mindo.first_of_month('conversations.started_on') }} as started_in,
        metrics.first_response_seconds,
        metrics.first_response_business_seconds,
        metrics.first_operator_response_seconds
    from {{ ref('mindo__conversations') }} as conversations
    inner join {{ ref('mindo__conversation_metrics') }} as metrics
        on conversations.company_id = metrics.company_id
        and conversations.conversation_id = metrics.conversation_id

)

select
    company_id,
    started_in,
    count(*) as conversations,
    {{ mindo.percentile('first_response_seconds', 0.5) }} as median_seconds,
    {{ mindo.percentile('first_response_business_seconds', 0.5) }} as median_business_seconds,
    {{ mindo.percentile('first_operator_response_seconds', 0.5) }} as median_operator_seconds
from {{ mindo.with_percentiles(
    'conversations',
    ['company_id', 'started_in'],
    ['first_response_seconds', 'first_response_business_seconds', 'first_operator_response_seconds'],
) }}
group by company_id, started_in
order by company_id, started_in
