"""The web base of the services: app, admission, problems, uploads. `services.web.server` runs them."""

from services.web.admission import Admission, admission_of, while_wanted
from services.web.app import create_service_app
from services.web.body import read_body
from services.web.deadlines import deadline_of, deadline_parameter
from services.web.failure import Failure, failure_of
from services.web.openapi import json_operation, narrowed, query_parameters, upload_operation
from services.web.problems import PROBLEM_RESPONSES
from services.web.query import parse_query
from services.web.seed_route import (
    CHANGE_ERRORS,
    VIDEO_KINDS,
    Jpeg,
    PathId,
    PathIndex,
    SeedRoute,
    seed_answer,
    seed_responses,
)
from services.web.spool import spool_file
from services.web.spool_directory import HeldSpool, SpoolBusy, free_bytes, hold_spool, used_bytes
from services.web.upload import (
    FORM_BYTES,
    UPLOAD_ERRORS,
    StoredUpload,
    media_type,
    parse_body,
    parse_part,
    receive_upload,
)
from services.web.versions import etag, expected_version, if_match_parameter

__all__ = [
    "CHANGE_ERRORS",
    "FORM_BYTES",
    "PROBLEM_RESPONSES",
    "UPLOAD_ERRORS",
    "VIDEO_KINDS",
    "Admission",
    "Failure",
    "HeldSpool",
    "Jpeg",
    "PathId",
    "PathIndex",
    "SeedRoute",
    "SpoolBusy",
    "StoredUpload",
    "admission_of",
    "create_service_app",
    "deadline_of",
    "deadline_parameter",
    "etag",
    "expected_version",
    "failure_of",
    "free_bytes",
    "hold_spool",
    "if_match_parameter",
    "json_operation",
    "media_type",
    "narrowed",
    "parse_body",
    "parse_part",
    "parse_query",
    "query_parameters",
    "read_body",
    "receive_upload",
    "seed_answer",
    "seed_responses",
    "spool_file",
    "upload_operation",
    "used_bytes",
    "while_wanted",
]
