{{ config(materialized='view') }}

select
    company_id,
    conversation_id,
    turn_number,
    min(session_number) as session_number,
    min(author_type) as author_type,
    min(author_id) as author_id,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    min(occurred_on) as started_on,
    count(*) as messages,
    max(response_seconds) as response_seconds,
    max(response_business_seconds) as response_business_seconds
from {{ ref('int_mindo__messages') }}
group by company_id, conversation_id, turn_number
