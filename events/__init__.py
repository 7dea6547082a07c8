"""The contracts: one model for each event, and the only code that all services share.

`catalogue` has the events, `types` and `values` what their fields consist of, `codec` converts events to JSON
and back, `identity` derives their ids.
"""
