"""Logs: one JSON object a line, on standard error."""

import json
import logging
import sys

import structlog

_ENCODER = json.JSONEncoder(default=repr)


def _render(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    return _ENCODER.encode(event)


def configure(service: str, level: str) -> None:
    """Send all logs through structlog, the warnings of libraries included."""
    numeric = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, _render],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=_render, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=max(numeric, logging.WARNING), force=True)
