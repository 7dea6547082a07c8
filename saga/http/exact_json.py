"""JSON bodies whose amounts stay exact."""

import json
from typing import Any

from fastapi import Request

from events.codec import InvalidEvent, parse_json


class ExactJsonRequest(Request):
    """A request whose numbers with a fraction are read as Decimal, never as a binary float."""

    async def json(self) -> Any:
        """Return the parsed body.

        Raises:
            json.JSONDecodeError: it is not JSON.
        """
        if not hasattr(self, "_json"):
            try:
                self._json = parse_json(await self.body())
            except InvalidEvent as error:
                raise json.JSONDecodeError(str(error), "", 0) from None
        return self._json
