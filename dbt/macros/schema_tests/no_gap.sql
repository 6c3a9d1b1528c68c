{#- Everything was read without filters, from mindo_coverage_start on or, without one, from each company's first window. -#}
{% test no_gap(model) %}

with unfiltered as (

    select *
    from {{ model }}
    where channel = 'all' and direction = 'all' and agent_ids = 'all'
        and company_id not in ({{ mindo.company_ids('mindo_retired_companies') }})

)

select company_id, range_start, range_end
from unfiltered
where is_gap
{%- if var('mindo_coverage_start') %}
    and range_end > {{ mindo.coverage_start() }}
union all
select company_id, {{ mindo.coverage_start() }}, min(range_start)
from unfiltered
group by company_id
having min(range_start) > {{ mindo.coverage_start() }}
{%- endif %}

{% endtest %}
