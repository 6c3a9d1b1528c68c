-- Which AI agents need a person, and do their tools have to do with it?
select
    company_id,
    agent_author_id,
    max(agent_name) as agent_name,
    sum(conversations) as conversation_days,
    {{ mindo.share('sum(contained_conversations)', 'sum(conversations)') }} as containment_rate,
    {{ mindo.share('sum(handed_off_conversations)', 'sum(conversations)') }} as hand_off_rate,
    {{ mindo.share('sum(tool_errors)', 'sum(tool_calls)') }} as tool_error_rate
from {{ ref('mindo__agents_by_day') }}
group by company_id, agent_author_id
order by containment_rate
