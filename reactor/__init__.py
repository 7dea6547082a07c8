"""Reactions made durable: load the aggregates a batch touches, react, save all at once, publish.

`step` holds the vocabulary, `engine` the batch logic, `store` what it needs of a store, `mongo` that store
on MongoDB, `relay` the publishing of what no message would redeliver.
"""
