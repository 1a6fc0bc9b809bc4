"""Many runs of a notebook: a sweep over its parameters, by papermill on Dask, and the results as one table."""
