"""The web base of the services: app, admission, problems, uploads. `services.web.server` runs them."""

from services.web.admission import Admission, admission_of, while_wanted
from services.web.app import create_service_app
from services.web.deadlines import deadline_of, deadline_parameter
from services.web.openapi import upload_operation
from services.web.problems import PROBLEM_RESPONSES
from services.web.spool import prepare_spool
from services.web.upload import FORM_BYTES, UPLOAD_ERRORS, StoredUpload, parse_part, receive_upload

__all__ = [
    "FORM_BYTES",
    "PROBLEM_RESPONSES",
    "UPLOAD_ERRORS",
    "Admission",
    "StoredUpload",
    "admission_of",
    "create_service_app",
    "deadline_of",
    "deadline_parameter",
    "parse_part",
    "prepare_spool",
    "receive_upload",
    "upload_operation",
    "while_wanted",
]
