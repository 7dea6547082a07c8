"""The audit: do the databases of the three services keep every promise, order by order?"""
