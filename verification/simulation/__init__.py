"""The production code in virtual time, with a broker, stores and a provider that an adversary makes fail.

Everything runs in one process and is decided by a seed, so that a schedule can be played again.
"""
