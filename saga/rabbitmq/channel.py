"""One AMQP channel: messages, confirms and acknowledgements directly, all else by the client library."""

from collections.abc import Awaitable, Callable
from typing import Any

import aiormq
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelInvalidStateError

from saga.messaging.message import Delivery
from saga.rabbitmq import frames
from saga.rabbitmq.transport import Transport


class Channel:
    """A channel that lives as long as its connection.

    `rpc` is the library's channel, for what the broker has to answer. What arrives is handed to
    `on_delivery`, `on_confirm` and `on_return`, within the read from the socket; where that is None, the
    library gets it.
    """

    def __init__(
        self, rpc: aiormq.Channel, lost: Callable[[], Awaitable[object]], transport: Transport
    ) -> None:
        self.rpc = rpc
        self.number = rpc.number
        self._lost = lost
        self._transport = transport
        self._ended = False
        self._content: _Content | None = None
        self.on_delivery: Callable[[Delivery], None] | None = None
        self.on_confirm: Callable[[int, bool, bool], None] | None = None
        """Called with the number of a published message, whether all earlier ones are meant too, and whether
        the broker has accepted it."""
        self.on_return: Callable[[str, str, str | None], None] | None = None
        """Called with the exchange, the routing key and the id of a message that no queue takes."""
        transport.attach(self.number, self)
        self.on_closed(lambda _: transport.detach(self.number))

    @property
    def closed(self) -> bool:
        """True once the channel or its connection is lost: nothing may be written any more."""
        return self._ended or self.rpc.is_closed

    @property
    def blocked(self) -> bool:
        """True while the broker asks publishers to wait."""
        return self._transport.blocked

    @property
    def frame_max(self) -> int:
        """The octets that a frame may have."""
        return int(self.rpc.connection.connection_tune.frame_max)

    async def lost(self) -> None:
        """Wait until the channel or its connection is lost."""
        await self._lost()

    def on_closed(self, call: Callable[[BaseException | None], None]) -> None:
        """Call this with the reason once the channel is closed."""

        def closed(closing: Any) -> None:
            call(None if closing.cancelled() else closing.exception())

        self.rpc.closing.add_done_callback(closed)

    async def consume(
        self, queue: str, on_delivery: Callable[[Delivery], None], *, no_ack: bool = False
    ) -> str:
        """Have a queue delivered; return the tag of the consumer, which is the only one of this channel."""
        self.on_delivery = on_delivery

        async def missed(message: DeliveredMessage) -> None:
            raise AssertionError(f"the library was given the delivery {message.delivery_tag}")

        ok = await self.rpc.basic_consume(queue, missed, no_ack=no_ack)
        return str(ok.consumer_tag)

    def write(self, data: bytes) -> None:
        """Send whole frames of this channel.

        Raises:
            ChannelInvalidStateError, ConnectionError: the channel or its connection is lost.
        """
        if self.closed:
            raise ChannelInvalidStateError(f"channel {self.number} is closed")
        self._transport.write(data)

    def receive(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """See `saga.rabbitmq.transport.FrameReader`."""
        if kind == frames.METHOD:
            return self._method(int(frames.UINT32.unpack_from(data, start)[0]), data, start + 4)
        if (content := self._content) is None:
            return False
        if kind == frames.HEADER:
            content.begin(frames.read_size(data, start), frames.read_properties(data, start))
        else:
            content.add(data[start:end])
        if content.missing <= 0:
            self._content = None
            content.arrived(content)
        return True

    def _method(self, method: int, data: bytes, at: int) -> bool:
        self._content = None
        if method == frames.DELIVER and self.on_delivery:
            self._content = _Content(frames.read_deliver(data, at), self._delivered)
        elif method in (frames.ACK, frames.NACK) and self.on_confirm:
            self.on_confirm(*frames.read_confirm(data, at), method == frames.ACK)
        elif method == frames.RETURN and self.on_return:
            self._content = _Content((0, *frames.read_return(data, at)), self._returned)
        else:
            # From here on the broker reads nothing on this channel; once the library has answered, any frame
            # ends the connection.
            self._ended = self._ended or method == frames.CHANNEL_CLOSE
            return False
        return True

    def _delivered(self, content: "_Content") -> None:
        if self.on_delivery:
            self.on_delivery(frames.delivery(*content.route, content.properties, content.body))

    def _returned(self, content: "_Content") -> None:
        if self.on_return:
            _, exchange, key = content.route
            self.on_return(exchange, key, content.properties.get("message_id"))


class _Content:
    """A message on its way in: what its method frame said, then its properties, then its body."""

    __slots__ = ("_parts", "arrived", "missing", "properties", "route")

    def __init__(self, route: tuple[int, str, str], arrived: Callable[["_Content"], None]) -> None:
        self.route = route
        self.arrived = arrived
        self.missing = 1
        self.properties: dict[str, Any] = {}
        self._parts: list[bytes] = []

    def begin(self, size: int, properties: dict[str, Any]) -> None:
        self.missing = size
        self.properties = properties

    def add(self, part: bytes) -> None:
        self._parts.append(part)
        self.missing -= len(part)

    @property
    def body(self) -> bytes:
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
