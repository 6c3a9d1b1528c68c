{{ config(materialized='table') }}

{#- A day changes with every conversation that has a message on it: hand-offs and labels are part of conversations. -#}
select
    company_id,
    occurred_on,
    {{ mindo.sum_of_fingerprints(mindo.fingerprint(['message_id', '_version'])) }} as _version,
    '{{ mindo.settings_fingerprint() }}' as _settings
from {{ ref('int_mindo__messages') }}
group by company_id, occurred_on
