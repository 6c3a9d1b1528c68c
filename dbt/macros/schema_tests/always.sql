{#- A condition that no row may break; where it is empty it is not broken. -#}
{% test always(model, condition) %}

select * from {{ model }} where not ({{ condition }})

{% endtest %}
