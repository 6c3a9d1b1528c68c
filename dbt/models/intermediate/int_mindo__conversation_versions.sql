{{ config(materialized='table') }}

{#- The parts of a conversation that its rows are made of; children are loaded apart from their messages. -#}
{%- set children = [] -%}
{%- if var('mindo_using_classifications') %}{% do children.append(['stg_mindo__classifications', 'classification_index', 'c']) %}{% endif -%}
{%- if var('mindo_using_extractions') %}{% do children.append(['stg_mindo__extractions', 'extraction_index', 'e']) %}{% endif -%}
{%- if var('mindo_using_tool_calls') %}{% do children.append(['stg_mindo__tool_calls', 'tool_call_index', 't']) %}{% endif -%}

with parts as (

    select company_id, conversation_id, 1 as messages, {{ mindo.fingerprint(['message_id', '_dlt_load_id']) }} as fingerprint
    from {{ ref('stg_mindo__messages') }}
    {% for model, index, letter in children %}
    union all
    select company_id, conversation_id, 0, {{ mindo.fingerprint(["'" ~ letter ~ "'", 'message_id', index, '_dlt_load_id']) }}
    from {{ ref(model) }}
    {% endfor %}
),

conversations as (

    select
        company_id,
        conversation_id,
        sum(messages) as messages,
        {{ mindo.sum_of_fingerprints('fingerprint') }} as fingerprint
    from parts
    group by company_id, conversation_id

)

select
    conversations.company_id,
    conversations.conversation_id,
    cast({{ mindo.fingerprint([
        'conversations.fingerprint',
        'coalesce(companies.time_zone, ' ~ mindo.default_time_zone() ~ ')',
        "'" ~ mindo.settings_fingerprint() ~ "'",
    ]) }} as {{ mindo.type_text() }}) as _version,
    '{{ mindo.settings_fingerprint() }}' as _settings
from conversations
left join {{ ref('int_mindo__companies') }} as companies on conversations.company_id = companies.company_id
where conversations.messages > 0
