{#- The columns are never empty and unique together: one query for both, over fingerprints, which are quicker to group than text. -#}
{% test primary_key(model, columns) %}

with keys as (

    select
        {{ mindo.fingerprint(columns) }} as fingerprint,
        case when {% for column in columns %}({{ column }}) is null{{ ' or ' if not loop.last }}{% endfor %} then 1 else 0 end as is_empty
    from {{ model }}

)

select fingerprint, count(*) as copies, max(is_empty) as is_empty
from keys
group by fingerprint
having count(*) > 1 or max(is_empty) = 1

{% endtest %}
