"""The dbt project downstream, run on the warehouse with the pipeline's credentials."""
