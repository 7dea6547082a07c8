"""The users of the broker, and the events that each may publish.

Every service is a user of its own name. The broker enforces permissions that are made from the same rule
(`operations.access.broker_definitions`), and receivers check the publisher again
(`saga.messaging.message.read_event`).
"""

from urllib.parse import unquote, urlsplit

from events.catalogue import EVENT_TYPES, SERVICES

OPERATOR = "operator"
"""The user of the `saga` command and of operators: sees everything, and may publish any event."""
PUBLISHER = "publisher"
"""The user of programs that start sagas from outside, and may do nothing else."""
ADMINISTRATOR = "administrator"
"""An optional user who may do everything. Without it, permissions cannot be changed remotely."""
PUBLISHABLE_BY_ANYONE = frozenset(name for name, kind in EVENT_TYPES.items() if kind.starts_saga)
"""The events that users other than services may publish: those that start a saga."""

DEFAULT_USER = "guest"


def user_of(amqp_url: str) -> str:
    """Return the user that an AMQP URL logs in as, with the broker's own default."""
    return unquote(urlsplit(amqp_url).username or DEFAULT_USER)


def may_publish(user: str | None, event_type: str) -> bool:
    """Tell whether an event of this type may come from this user; None: the publisher named none.

    An event that starts a saga may come from every user whom the broker lets publish it, except services that
    do not publish it.
    """
    if user in (EVENT_TYPES[event_type].published_by, OPERATOR):
        return True
    return event_type in PUBLISHABLE_BY_ANYONE and user not in SERVICES
