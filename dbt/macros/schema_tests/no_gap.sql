{#- Everything was read without filters, from mindo_coverage_start on. -#}
{% test no_gap(model) %}

select *
from {{ model }}
where is_gap
    and channel = 'all' and direction = 'all' and agent_ids = 'all'
    {% if var('mindo_coverage_start') -%}
    and range_end > {{ mindo.coverage_start() }}
    {%- endif %}
    and company_id not in ({{ mindo.company_ids('mindo_retired_companies') }})

{% endtest %}
