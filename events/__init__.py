"""The contracts: one model for each event, and the only code that all services share.

`catalogue` holds the models, `fields` the types their fields are made of, `codec` turns events into JSON
and back, `identity` derives their ids.
"""
