-- How long do people wait for a first answer, month by month, and how long within business hours?
select
    conversations.company_id,
    {{ mindo.first_of_month('conversations.started_on') }} as month,
    count(*) as conversations,
    {{ mindo.percentile('metrics.first_response_seconds', 0.5) }} as median_seconds,
    {{ mindo.percentile('metrics.first_response_business_seconds', 0.5) }} as median_business_seconds,
    {{ mindo.percentile('metrics.first_operator_response_seconds', 0.5) }} as median_operator_seconds
from {{ ref('mindo__conversations') }} as conversations
inner join {{ ref('mindo__conversation_metrics') }} as metrics
    on conversations.company_id = metrics.company_id
    and conversations.conversation_id = metrics.conversation_id
group by conversations.company_id, {{ mindo.first_of_month('conversations.started_on') }}
order by company_id, month
