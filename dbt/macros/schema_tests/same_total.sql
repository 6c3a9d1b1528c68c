{#- Nothing is lost or counted twice between two models: `total` of this one is `total_there` of the other. -#}
{% test same_total(model, total, there, total_there='count(*)', rows_there='1 = 1') %}

select here.total, elsewhere.total as total_there
from (select coalesce({{ total }}, 0) as total from {{ model }}) as here
cross join (select coalesce({{ total_there }}, 0) as total from {{ there }} where {{ rows_there }}) as elsewhere
where here.total <> elsewhere.total

{% endtest %}
