-- Which conversations of complete days has nobody answered?
select
    conversations.company_id,
    conversations.conversation_id,
    conversations.channel,
    conversations.started_at,
    conversations.contact_messages,
    conversations.labels
from {{ ref('mindo__conversations') }} as conversations
inner join {{ ref('mindo__companies_by_day') }} as days
    on conversations.company_id = days.company_id
    and conversations.ended_on = days.occurred_on
where conversations.is_unanswered and days.is_complete
order by conversations.started_at
