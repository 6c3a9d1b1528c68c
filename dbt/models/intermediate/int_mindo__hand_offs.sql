{{ config(materialized='view') }}

{#- A view, so that it can't be of another version than the messages: conversations and days compare that of messages only. -#}
{%- set in_order = 'partition by company_id, conversation_id, session_number order by message_number' -%}

with replies as (

    select
        *,
        lag(message_id) over ({{ in_order }}) as from_message_id,
        lag(author_type) over ({{ in_order }}) as from_author_type,
        lag(author_id) over ({{ in_order }}) as from_author_id,
        lag(occurred_at) over ({{ in_order }}) as from_occurred_at,
        lag(occurred_on) over ({{ in_order }}) as from_occurred_on
    from {{ ref('int_mindo__messages') }}
    where author_type in ('agent', 'operator')

)

select
    company_id,
    conversation_id,
    message_id,
    message_number,
    row_number() over (partition by company_id, conversation_id order by message_number) as hand_off_number,
    from_author_type,
    from_author_id,
    from_message_id,
    from_occurred_at,
    from_occurred_on,
    author_type as to_author_type,
    author_id as to_author_id,
    occurred_at,
    occurred_on,
    {{ mindo.seconds_between('from_occurred_at', 'occurred_at') }} as seconds_between
from replies
where author_type <> from_author_type
