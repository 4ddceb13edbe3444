"""What schemathesis cannot know from the OpenAPI documents: what a video is. Read by the command of the tests."""

import os
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

VIDEO = Path(os.environ["WINNOW_TEST_VIDEO"]).read_bytes()

schemathesis.openapi.format("binary", st.just(VIDEO))
