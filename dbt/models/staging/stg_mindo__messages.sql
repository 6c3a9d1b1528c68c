{%- set table = mindo.loaded_table('messages') -%}
{%- set text = mindo.type_text() -%}
{%- set moment = mindo.type_moment() -%}

with loaded as (

    select
        {{ mindo.loaded_column(table, 'company_id', 'bigint') }} as company_id,
        {{ mindo.loaded_column(table, 'conversation_id', text) }} as conversation_id,
        {{ mindo.loaded_column(table, 'message_id', text) }} as message_id,
        {{ mindo.loaded_column(table, 'occurred_at', moment) }} as occurred_at,
        {{ mindo.loaded_column(table, 'channel', text) }} as channel,
        {{ mindo.loaded_column(table, 'direction', text) }} as direction,
        {{ mindo.loaded_column(table, 'author__type', text) }} as reported_author_type,
        {{ mindo.loaded_column(table, 'author__id', text) }} as author_id,
        {{ mindo.loaded_column(table, 'author__display_name', text) }} as author_name,
        {{ mindo.loaded_column(table, 'agent__id', text) }} as agent_id,
        {{ mindo.loaded_column(table, 'content__type', text) }} as content_type,
        {{ mindo.loaded_column(table, 'content__text', text) }} as content_text,
        {{ mindo.loaded_column(table, 'content__media_url', text) }} as media_url,
        {{ mindo.loaded_column(table, 'content__media_mime', text) }} as media_mime,
        {{ mindo.loaded_column(table, 'context__reply_to_message_id', text) }} as reply_to_message_id,
        {{ mindo.loaded_column(table, 'context__thread_position', 'bigint') }} as thread_position,
        {{ mindo.loaded_column(table, 'trace_id', text) }} as trace_id,
        {{ mindo.loaded_column(table, '_dlt_load_id', text) }} as _dlt_load_id
    {{ mindo.from_loaded(table) }}
    {{- mindo.without_excluded(table) }}

)

select
    company_id,
    coalesce(conversation_id, message_id) as conversation_id,
    message_id,
    occurred_at,
    channel,
    case
        when channel in ('META_WHATSAPP', 'WHATSAPP_EVOLUTION', 'MANYCHAT_WHATSAPP') then 'whatsapp'
        when channel in ('INSTAGRAM', 'MANYCHAT_INSTAGRAM') then 'instagram'
        when channel = 'MESSENGER' then 'messenger'
    end as platform,
    direction,
    case
        when left(author_id, 4) = 'ctc_' then 'contact'
        when left(author_id, 4) = 'agt_' then 'agent'
        when left(author_id, 3) = 'op_' then 'operator'
        when reported_author_type is not null then lower(reported_author_type)
        when direction = 'inbound' then 'contact'
        else 'unknown'
    end as author_type,
    reported_author_type,
    author_id,
    author_name,
    agent_id,
    content_type,
    content_text,
    media_url,
    media_mime,
    reply_to_message_id,
    thread_position,
    trace_id,
    _dlt_load_id
from loaded
