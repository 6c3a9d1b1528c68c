{{ config(
    enabled=var('mindo_using_classifications'),
    materialized='incremental',
    pre_hook="{{ mindo.drop_outdated('day') }}",
) }}

with days as (

    {{ mindo.to_build('day') }}

),

classifications as (

    select
        classifications.company_id,
        messages.occurred_on,
        classifications.label,
        classifications.value,
        classifications.message_id,
        classifications.conversation_id,
        days._version
    from {{ ref('stg_mindo__classifications') }} as classifications
    inner join {{ ref('int_mindo__messages') }} as messages
        on classifications.company_id = messages.company_id
        and classifications.message_id = messages.message_id
    inner join days
        on messages.company_id = days.company_id
        and messages.occurred_on = days.occurred_on
    where classifications.label is not null

),

values_by_day as (

    select
        company_id,
        occurred_on,
        label,
        value,
        count(*) as classifications,
        count(distinct message_id) as messages,
        count(distinct conversation_id) as conversations,
        max(_version) as _version
    from classifications
    group by company_id, occurred_on, label, value

),

classified_by_day as (

    select company_id, occurred_on, count(distinct message_id) as messages
    from classifications
    group by company_id, occurred_on

),

with_totals as (

    select
        values_by_day.*,
        classified_by_day.messages as classified_messages,
        sum(values_by_day.classifications)
            over (partition by values_by_day.company_id, values_by_day.occurred_on, values_by_day.label)
            as label_classifications,
        sum(values_by_day.classifications)
            over (partition by values_by_day.company_id, values_by_day.occurred_on) as day_classifications
    from values_by_day
    inner join classified_by_day
        on values_by_day.company_id = classified_by_day.company_id
        and values_by_day.occurred_on = classified_by_day.occurred_on

)

select
    company_id,
    occurred_on,
    label,
    value,
    classifications,
    messages,
    conversations,
    {{ mindo.share('classifications', 'label_classifications') }} as share_of_label,
    {{ mindo.share('messages', 'classified_messages') }} as share_of_messages,
    {{ mindo.share('classifications', 'day_classifications') }} as share_of_mix,
    _version
from with_totals
