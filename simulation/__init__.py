"""The world the services are proven in: virtual time, a faulty broker, store and provider, and a judge.

The production code for messages, reactions, batches and relay runs unchanged, in one process and in virtual
time, while an adversary with a seed of its own does everything to it that networks, processes and people do.
"""
