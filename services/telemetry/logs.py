"""JSON logs on standard error: one object a line, with the request and trace they belong to."""

import logging
import logging.config

from pythonjsonlogger.json import JsonFormatter

from services.telemetry import trace
from services.telemetry.caller import current_caller


class TraceFilter(logging.Filter):
    """Adds `request_id`, `trace_id` and the `caller` to every record made while a request is served."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record; ids that the caller of the logger gave are left alone."""
        context = trace.current_or_none()
        if context is not None:
            record.request_id = getattr(record, "request_id", context.request_id)
            record.trace_id = getattr(record, "trace_id", context.trace_id)
        caller = current_caller()
        if caller is not None:
            record.caller = getattr(record, "caller", caller)
        return True


def json_formatter(service: str) -> JsonFormatter:
    """Formatter whose lines have ts (UTC, ISO 8601), level, logger, msg, service, and the record's extras."""
    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger", "message": "msg", "exc_info": "exception"},
        # color_message is the same text again, with terminal codes, on records of uvicorn.
        reserved_attrs=[*_standard_attributes(), "color_message"],
        static_fields={"service": service},
        timestamp="ts",
        json_ensure_ascii=False,
    )


def configure(service: str, level: str) -> None:
    """Route every logger of the process, uvicorn's included, into JSON lines on standard error.

    Args:
        service: name of the service, a field of every line.
        level: `debug`, `info`, `warning` or `error`.
    """
    quiet = {"handlers": [], "propagate": True}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"trace": {"()": TraceFilter}},
            "formatters": {"json": {"()": lambda: json_formatter(service)}},
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "filters": ["trace"], "formatter": "json"},
            },
            "root": {"level": level.upper(), "handlers": ["stderr"]},
            "loggers": {
                "uvicorn": quiet,
                "uvicorn.error": quiet,
                # services.web logs every request itself, with its route and duration.
                "uvicorn.access": {"handlers": [], "propagate": False, "level": "CRITICAL"},
                # They log every call that a client makes, at level info.
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
            },
        }
    )
    logging.captureWarnings(True)


def _standard_attributes() -> list[str]:
    record = logging.LogRecord("", 0, "", 0, "", None, None)
    return [*record.__dict__, "message", "asctime"]
