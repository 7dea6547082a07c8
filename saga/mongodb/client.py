"""Clients and databases with the options that every service depends on."""

from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bson import CodecOptions, Decimal128
from bson.codec_options import TypeCodec, TypeRegistry
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)

Document = dict[str, Any]
Client = AsyncIOMotorClient[Document]
Database = AsyncIOMotorDatabase[Document]
DocumentCollection = AsyncIOMotorCollection[Document]
Session = AsyncIOMotorClientSession


class _DecimalCodec(TypeCodec):
    python_type = Decimal
    bson_type = Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        return Decimal128(value)

    def transform_bson(self, value: Decimal128) -> Decimal:
        return value.to_decimal()


def connect(url: str, timeout: float = 5.0) -> Client:
    """Return a client; it connects with its first command.

    `timeout` (s) limits the selection of a server, and twice that the wait for each answer. Reads return, and
    writes are acknowledged, only what a majority of the replica set has: messages are acknowledged on the
    strength of it, so the server's defaults must not decide. Options in the URL take precedence.
    """
    options = {
        "serverSelectionTimeoutMS": round(timeout * 1000),
        "connectTimeoutMS": round(timeout * 1000),
        "socketTimeoutMS": round(timeout * 2000),
        "w": "majority",
        "readConcernLevel": "majority",
    }
    in_url = {name.lower() for name in parse_qs(urlsplit(url).query)}
    defaults: dict[str, Any] = {name: value for name, value in options.items() if name.lower() not in in_url}
    return AsyncIOMotorClient(url, tz_aware=True, **defaults)


def database(client: Client, name: str) -> Database:
    """Return a database that reads decimals as `Decimal` and times as UTC."""
    options: CodecOptions[Document] = CodecOptions(
        tz_aware=True, type_registry=TypeRegistry([_DecimalCodec()])
    )
    return client.get_database(name, codec_options=options)
