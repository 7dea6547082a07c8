"""How events get their ids."""

import json
from datetime import timedelta
from decimal import Decimal
from uuid import uuid5

from hypothesis import given
from hypothesis import strategies as st

from events.catalogue import (
    EVENT_TYPES,
    InventoryReleaseRequested,
    PaymentFailed,
    PaymentRequested,
)
from events.codec import decode, encode, from_json
from events.identity import (
    NAMESPACE,
    content_id,
    derived_id,
    new_id,
    transition_id,
    with_defaults,
    with_identity,
)
from tests.support.builders import LATER, NOW, event
from tests.support.event_json import REQUEST, changed


@given(st.text(), st.text())
def test_a_derived_id_is_the_uuid5_of_its_cause(cause: str, kind: str) -> None:
    assert derived_id(cause, kind) == str(uuid5(NAMESPACE, f"{cause}/{kind}"))


class TestContentId:
    def test_spelling_and_explicit_defaults_keep_the_id(self) -> None:
        spellings = [
            REQUEST,
            dict(reversed(REQUEST.items())),
            changed(totalAmount=Decimal("25.0")),
            changed(totalAmount=25),
            changed(currency="USD", version=1, userLocation=None, expiresIn=None, paymentMethod=None),
            changed(eventId=None, correlationId=None, causationId=None, occurredAt=None),
            changed(items=[{"quantity": 2, "warehouseId": None, "productId": "tea"}]),
            changed(note="not understood"),
        ]
        assert len({content_id(from_json(fields)) for fields in spellings}) == 1

    def test_white_space_keeps_the_id(self) -> None:
        assert content_id(decode(json.dumps(REQUEST, indent=4))) == content_id(decode(json.dumps(REQUEST)))

    def test_an_event_id_is_not_part_of_the_content(self) -> None:
        assert content_id(from_json(changed(eventId="e-1"))) == content_id(from_json(REQUEST))

    def test_other_content_has_another_id(self) -> None:
        others = [
            REQUEST,
            changed(orderId="o-2"),
            changed(userId="u-2"),
            changed(totalAmount="25.01"),
            changed(currency="EUR"),
            changed(expiresIn=60),
            changed(correlationId="c-1"),
            changed(paymentMethod="sim:decline"),
            changed(userLocation={"latitude": 1, "longitude": 2}),
            changed(userLocation={"latitude": 2, "longitude": 1}),
            changed(items=[{"productId": "tea", "quantity": 3}]),
            changed(items=[{"productId": "tea", "quantity": 2, "warehouseId": "berlin"}]),
        ]
        assert len({content_id(from_json(fields)) for fields in others}) == len(others)

    def test_types_with_the_same_fields_have_different_ids(self) -> None:
        fields = {"orderId": "o-1", "reason": "x"}
        kinds = ("PaymentFailed", "InventoryConfirmationFailed", "InventoryReleaseRequested")
        assert len({content_id(from_json({**fields, "type": kind})) for kind in kinds}) == 3

    def test_the_id_of_a_content_is_fixed(self) -> None:
        assert content_id(from_json(REQUEST)) == "b94e5f43-6817-56c2-a6c7-bee9898d7292"


class TestDerivedIds:
    def test_derived_ids_are_fixed(self) -> None:
        assert derived_id("e-1", "OrderFailed") == "292dbb5e-cb63-54f3-b093-8188c342b9aa"
        assert derived_id("e-1", "OrderFailed", 1) == "af96d621-f3d2-547d-9786-fc864f1ac0ff"
        assert transition_id("order_service", "o-1", "cancelled") == "eea2f104-4722-584d-9d3d-c164e379c412"

    def test_cause_type_and_index_make_different_ids(self) -> None:
        ids = [
            derived_id(cause, kind, index)
            for cause in ("e-1", "e-2")
            for kind in EVENT_TYPES
            for index in range(3)
        ]
        assert len(set(ids)) == len(ids)

    def test_service_order_and_name_make_different_ids(self) -> None:
        ids = {
            transition_id(service, order_id, name)
            for service in ("order_service", "inventory_service")
            for order_id in ("o-1", "o-2")
            for name in ("cancelled", "deadline")
        }
        assert len(ids) == 8


class TestIdentity:
    def test_missing_fields_get_defaults(self) -> None:
        read = from_json(REQUEST)
        known = with_defaults(read, NOW)
        assert (known.event_id, known.correlation_id, known.occurred_at) == (content_id(read), "o-1", NOW)

    def test_fields_that_are_set_are_kept(self) -> None:
        known = event(PaymentFailed)
        assert with_defaults(known, LATER) == known

    def test_drafts_get_ids_cause_correlation_and_time(self) -> None:
        drafts = [
            InventoryReleaseRequested(order_id="o-1", reason="x"),
            PaymentRequested(order_id="o-1", user_id="u-1", amount=1, idempotency_key="order-o-1"),
            InventoryReleaseRequested(order_id="o-1", reason="y"),
        ]
        events = with_identity(
            drafts, record_id="e-1", caused_by="e-0", correlation_id="c-1", occurred_at=NOW
        )
        assert [one.event_id for one in events] == [
            derived_id("e-1", "InventoryReleaseRequested"),
            derived_id("e-1", "PaymentRequested"),
            derived_id("e-1", "InventoryReleaseRequested", 1),
        ]
        assert {(one.correlation_id, one.causation_id, one.occurred_at) for one in events} == {
            ("c-1", "e-0", NOW)
        }
        assert [getattr(one, "reason", None) for one in events] == ["x", None, "y"]
        assert all(encode(one) for one in events)

    def test_earlier_events_of_the_record_count_for_the_index(self) -> None:
        (again,) = with_identity(
            [PaymentFailed(order_id="o-1", reason="x")],
            record_id="e-1",
            caused_by=None,
            correlation_id="c-1",
            occurred_at=NOW + timedelta(hours=1),
            already=["PaymentFailed", "PaymentRefunded", "PaymentFailed"],
        )
        assert again.event_id == derived_id("e-1", "PaymentFailed", 2)
        assert again.causation_id is None


class TestNewId:
    def test_without_a_key_every_id_is_another(self) -> None:
        assert new_id("order", None) != new_id("order", None)

    def test_the_same_key_gives_the_same_id(self) -> None:
        assert new_id("order", "k-1") == new_id("order", "k-1")
        assert new_id("order", "k-1") != new_id("order", "k-2")

    def test_one_key_gives_objects_of_two_kinds_two_ids(self) -> None:
        assert new_id("order", "k-1") != new_id("reservation", "k-1")
