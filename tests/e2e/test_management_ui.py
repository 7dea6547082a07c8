"""What docs/management-ui.md says, done in a real browser; and that its pictures show what there is to see.

With SCREENSHOTS=docs/images and `-k containers` the pictures are taken again,
and `shown.json` records what they show.
Without, the test fails when the pages show another user, other tabs or other properties.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from playwright.async_api import Locator, Page, async_playwright, expect

from events.catalogue import SERVICES
from operations.endpoints import broker_login
from saga.messaging.topology import exchange_of
from tests.support.broker import until
from tests.support.system import System

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PAGE_TIMEOUT = 60_000
"""Milliseconds that a page may take."""

REQUEST = "InventoryReservationRequested"
FOLLOWING = [
    "InventoryReserved",
    "PaymentRequested",
    "PaymentCompleted",
    "InventoryConfirmationRequested",
    "InventoryConfirmed",
    "OrderCreated",
]
"""The events of a saga that is confirmed, but for the request, whose routing key does not name the order."""

RECORD = Path(__file__).parents[2] / "docs/images/shown.json"


class ManagementUi:
    """The management UI of a system's broker, in a browser, as its pages name things."""

    def __init__(self, page: Page, system: System) -> None:
        self._page = page
        self._at = system.at
        self._login = broker_login(system.at.rabbitmq)

    async def log_in(self) -> None:
        await self._page.goto(self._at.management)
        await self._page.locator("input[name=username]").fill(self._login.user)
        await self._page.locator("input[name=password]").fill(self._login.password)
        await self._page.locator("input[type=submit]").click()
        await expect(self._page.locator("#logout")).to_contain_text(self._login.user)
        # Otherwise the page may be drawn again at any time.
        await self._page.locator("#update-every").select_option(label="Do not refresh")

    async def add_queue(self, name: str) -> None:
        await self._page.goto(f"{self._at.management}/#/queues")
        form = await self._form("Add a new queue")
        vhosts = form.locator("select[name=vhost]")
        if await vhosts.count():
            await vhosts.select_option(self._login.vhost)
        await form.locator("input[name=name]").fill(name)
        await form.locator("input[type=submit]").click()
        await expect(self._page.locator("table.list")).to_contain_text(name)

    async def bind(self, queue: str, exchange: str, key: str) -> None:
        await self._open("queues", queue)
        form = await self._form("Bindings", "form[method=post]")
        await form.locator("input[name=source]").fill(exchange)
        await form.locator("input[name=routing_key]").fill(key)
        await form.locator("input[type=submit]").click()
        await expect(self._page.locator(".bindings-wrapper")).to_contain_text(exchange)

    async def fill_in(self, exchange: str, key: str, payload: str) -> Locator:
        """Fill in a message on the page of an exchange; return the button that publishes it."""
        await self._open("exchanges", exchange)
        form = await self._form("Publish message")
        await form.locator("input[name=routing_key]").fill(key)
        await form.locator("textarea[name=payload]").fill(payload)
        return form.locator("input[type=submit]")

    async def publish(self, button: Locator) -> None:
        await button.click()
        await expect(self._page.locator(".form-popup-info")).to_contain_text("Message published")

    async def messages(self, queue: str, count: int) -> str:
        """Return what the page of a queue shows of its first messages; they stay in the queue."""
        await self._open("queues", queue)
        form = await self._form("Get messages")
        await form.locator("input[name=count]").fill(str(count))
        await form.locator("input[type=submit]").click()
        shown = self._page.locator("#msg-wrapper")
        await expect(shown).to_contain_text("Routing Key")
        return await shown.inner_text()

    async def shown(self, queue: str) -> dict[str, object]:
        """Return what the pictures show of the user, the tabs and the properties of a message."""
        tabs = await self._page.locator("#menu a").evaluate_all("links => links.map(a => a.hash)")
        properties = re.findall(r"^(\w+):\t", await self.messages(queue, 1), re.MULTILINE)
        user = await self._page.locator("#logout").inner_text()
        return {"user": user.split()[1], "tabs": tabs, "properties": sorted(set(properties))}

    async def picture(self, part: str, name: str) -> None:
        """Take a picture of a part of the page for the documentation, if pictures are wanted."""
        if directory := os.environ.get("SCREENSHOTS"):
            await self._page.locator(part).last.screenshot(path=Path(directory) / name)

    async def _open(self, kind: str, name: str) -> None:
        await self._page.goto(f"{self._at.management}/#/{kind}/{quote(self._login.vhost, safe='')}/{name}")
        await expect(self._page.locator("#main h1")).to_contain_text(name)

    async def _form(self, title: str, form: str = "form") -> Locator:
        """Unfold a section of the page; return its form."""
        heading = self._page.locator("h2", has_text=re.compile(f"^ *{title}", re.IGNORECASE))
        section = self._page.locator("div[class^=section]", has=heading)
        if await section.locator(form).last.is_hidden():
            await heading.click()
        await heading.scroll_into_view_if_needed()
        return section.locator(form).last


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a browser of the test's own."""
    async with async_playwright() as playwright:
        # As root, in a container, Chromium's own sandbox cannot be had; it sees nothing but the broker.
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        page = await browser.new_page(viewport={"width": 1000, "height": 800})
        page.set_default_timeout(PAGE_TIMEOUT)
        expect.set_options(timeout=PAGE_TIMEOUT)
        yield page
        await browser.close()


async def test_saga_is_started_and_tapped_in_the_management_ui(system: System, page: Page) -> None:
    product = await system.stock(north=3)
    order_id = f"o-{uuid4().hex[:6]}"
    ui = ManagementUi(page, system)
    await ui.log_in()
    await ui.add_queue(f"tap-{order_id}")
    for service in SERVICES:
        await ui.bind(f"tap-{order_id}", exchange_of(service), f"#.{order_id}")

    button = await ui.fill_in(
        "order.events",
        REQUEST,
        f'{{"type":"{REQUEST}","orderId":"{order_id}","userId":"u-1",'
        f'"items":[{{"productId":"{product}","quantity":2}}],"totalAmount":"25.00"}}',
    )
    await ui.picture("#main", "publish-the-request.png")
    await ui.publish(button)

    assert (await system.ended(order_id))["status"] == "confirmed"
    assert await system.levels(product) == {"north": (1, 0, 2)}
    shown: list[str] = []

    async def all_of_it_is_shown() -> bool:
        shown[:] = re.findall(rf"\t(\w+)\.{order_id}\b", await ui.messages(f"tap-{order_id}", 20))
        return "OrderCreated" in shown

    await until(all_of_it_is_shown, "the tap shows the whole saga", limit=60)
    await ui.picture("#msg-wrapper", "tap-one-saga.png")
    assert shown == FOLLOWING
    seen = await ui.shown(f"tap-{order_id}")
    if directory := os.environ.get("SCREENSHOTS"):
        (Path(directory) / RECORD.name).write_text(json.dumps(seen, indent=2) + "\n")
    assert seen == json.loads(RECORD.read_text()), "take the pictures again, with SCREENSHOTS=docs/images"
