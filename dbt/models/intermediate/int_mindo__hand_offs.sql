{{ config(
    materialized='incremental',
    on_schema_change='append_new_columns',
    pre_hook="{{ mindo.drop_outdated('conversation') }}",
) }}

{%- set in_order =
    'partition by messages.company_id, messages.conversation_id, messages.session_number order by messages.message_number' -%}

with conversations as (

    {{ mindo.to_build('conversation') }}

),

replies as (

    select
        messages.*,
        lag(messages.message_id) over ({{ in_order }}) as from_message_id,
        lag(messages.author_type) over ({{ in_order }}) as from_author_type,
        lag(messages.author_id) over ({{ in_order }}) as from_author_id,
        lag(messages.occurred_at) over ({{ in_order }}) as from_occurred_at,
        lag(messages.occurred_on) over ({{ in_order }}) as from_occurred_on
    from {{ ref('int_mindo__messages') }} as messages
    inner join conversations
        on messages.company_id = conversations.company_id
        and messages.conversation_id = conversations.conversation_id
    where messages.author_type in ('agent', 'operator')

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
    {{ mindo.seconds_between('from_occurred_at', 'occurred_at') }} as seconds_between,
    _version
from replies
where author_type <> from_author_type
