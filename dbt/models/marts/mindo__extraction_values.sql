{{ config(
    enabled=var('mindo_using_extractions'),
    materialized='incremental',
    pre_hook="{{ mindo.drop_outdated('conversation') }}",
) }}

{%- set in_order = 'partition by company_id, conversation_id, field order by message_number, extraction_index' %}

with conversations as (

    {{ mindo.to_build('conversation') }}

),

extractions as (

    select
        messages.company_id,
        messages.conversation_id,
        extractions.field,
        extractions.value,
        extractions.extraction_index,
        messages.message_id,
        messages.message_number,
        messages.occurred_at,
        messages._version
    from {{ ref('stg_mindo__extractions') }} as extractions
    inner join {{ ref('int_mindo__messages') }} as messages
        on extractions.company_id = messages.company_id
        and extractions.message_id = messages.message_id
    inner join conversations
        on messages.company_id = conversations.company_id
        and messages.conversation_id = conversations.conversation_id
    where extractions.field is not null and extractions.value is not null

),

in_order as (

    select
        *,
        row_number() over ({{ in_order }}) as number_forwards,
        row_number() over ({{ in_order | replace('message_number, extraction_index', 'message_number desc, extraction_index desc') }})
            as number_backwards
    from extractions

)

select
    company_id,
    conversation_id,
    field,
    max(case when number_backwards = 1 then value end) as value,
    max(case when number_backwards = 1 then message_id end) as message_id,
    max(case when number_backwards = 1 then occurred_at end) as extracted_at,
    max(case when number_forwards = 1 then value end) as first_value,
    min(occurred_at) as first_extracted_at,
    count(*) as extractions,
    count(distinct value) as distinct_values,
    max(_version) as _version
from in_order
group by company_id, conversation_id, field
