"""The exceptions of the system, in one tree.

An exception is named for what happened, without a suffix: `except Unavailable` reads as a sentence. The
kernel raises those of this module; the others stand where they are raised:

    SagaError
    ├── Unavailable         the broker, the database or the payment provider cannot be used now
    │   ├── Rejected            the broker does not let this user do that (`saga.rabbitmq.errors`)
    │   ├── ObjectMissing       the broker has no such exchange or queue
    │   ├── Unroutable          no queue takes a message
    │   ├── Unconfirmed         the broker has not accepted a message
    │   └── ConnectionLost      the broker cannot be reached, or no longer
    ├── OutOfOrder          the event depends on one that this service has not received yet
    ├── Refused             the state of the aggregate does not allow this
    │   └── InsufficientStock   an order asks for more than there is (`inventory_service.reactions`)
    ├── Conflict            other writers were faster in every round
    ├── Problem             an HTTP request is answered by an error (`saga.http.problems`)
    ├── LostRace            a transaction met a write conflict (`inventory_service.mongo_store`)
    ├── Overtaken           another process has folded these changes (`saga.mongodb.ledger`)
    ├── NoAnswer            the payment provider has not decided (`payment_service.providers.base`)
    │   └── ProviderDown    it cannot be reached at all
    ├── CommandFailed       a command ends with this line (`operations.errors`)
    │   └── RequestFailed   a service answered with an error (`operations.client`)
    ├── PasswordsMissing    users cannot be made without them (`operations.access.passwords`)
    ├── ProcessFailed       a part of the local stack did not start, or has ended (`local_stack.process`)
    ├── BrokenReaction      the model checker met a reaction that fails (`verification.model_checker`)
    ├── Deadlock            nothing can happen any more in a simulation (`verification.simulation.clock`)
    └── HungUp              a simulated process died during a request (`verification.simulation.clients`)

Data that cannot be read is a `ValueError`, as in the standard library: `events.codec.InvalidEvent`,
`verification.invariants.case.Unreadable`.
"""


class SagaError(Exception):
    """Base of every exception of the system that does not concern a value."""


class Unavailable(SagaError):
    """Something that every message needs (the broker, the database, the provider) cannot be used now.

    No message is to blame: the unacknowledged ones are requeued, and reading pauses until it can.
    """


class OutOfOrder(SagaError):
    """The event depends on one that this service has not received yet, and that may still come."""


class Refused(SagaError):
    """The state of the aggregate does not allow this."""


class Conflict(SagaError):
    """Other writers were faster in every round; the step itself is right, and may be run again."""
