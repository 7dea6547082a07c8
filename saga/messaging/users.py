"""Who logs in at the broker, and which events each may publish.

Every service is a user of its own name. The broker holds each to its permissions, which are made
from the same rule (`operations.access.broker_definitions`), and receivers check the publisher again
(`saga.messaging.message.read`).
"""

from urllib.parse import unquote, urlsplit

from events.catalogue import EVENT_TYPES, SERVICES, InventoryReservationRequested

OPERATOR = "operator"
"""The user of the `saga` command and of people: sees everything, and may publish any event by hand."""
PUBLISHER = "publisher"
"""The user of who starts sagas from outside, and can do nothing else."""
ADMINISTRATOR = "administrator"
"""A user who may do everything, where one is wanted. Without, nobody can change rights from afar."""
OPEN = frozenset({InventoryReservationRequested.__name__})
"""What others than a service may publish: the events that start a saga."""

DEFAULT_USER = "guest"


def user_of(amqp_url: str) -> str:
    """Return the user that an AMQP URL logs in as, with the broker's own default."""
    return unquote(urlsplit(amqp_url).username or DEFAULT_USER)


def may_publish(user: str | None, event_type: str) -> bool:
    """Tell whether an event of this type may come from this user; None: who published it did not say.

    What starts a saga may come from anybody whom the broker lets publish it, but for another service.
    """
    if user in (EVENT_TYPES[event_type].published_by, OPERATOR):
        return True
    return event_type in OPEN and user not in SERVICES
