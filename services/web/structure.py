"""How many values a JSON text holds, counted before it is parsed: a flood of wrong ones would keep the event loop."""

import re

from services.errors import TooLarge

MAX_MARKS = 32_000
"""The largest legal request (RouteRequest: 256 issues with 64 siblings each) has about 25,000 marks."""

_STRING_OR_MARK = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[,:\[{]', re.DOTALL)


def check_structure(raw: bytes, max_marks: int = MAX_MARKS) -> None:
    """Refuses JSON whose commas, colons and opening brackets outside strings are more than `max_marks`.

    Parsing costs microseconds for each value, validating each wrong one more, and neither lets another thread run:
    16 MiB of them take minutes. This takes time for `max_marks` of them and as many strings at most.

    Raises:
        TooLarge: there are more.
    """
    # Most texts have fewer even where those in strings are counted, which takes no time at all.
    if sum(raw.count(mark) for mark in (b",", b":", b"[", b"{")) <= max_marks:
        return
    marks = strings = 0
    for match in _STRING_OR_MARK.finditer(raw):
        if match[0][:1] == b'"':
            strings += 1
            if strings > marks + 1:
                return  # each but the first stands behind a mark: a parser gives up here
        else:
            marks += 1
            if marks > max_marks:
                raise TooLarge(f"The JSON holds more than {max_marks} values.")
