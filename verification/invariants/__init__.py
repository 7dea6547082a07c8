"""The promises about orders, stock and money, as pure functions of what was recorded.

`names` lists them. The audit asks them of the databases, the simulation of its tables, the model checker of
every state, so that each schedule and each state also tests the audit.
"""
