"""The file that a command writes at its end, tried before the work begins."""

from pathlib import Path

from winnow.supervisor import unusable

ADVICE = "Choose another file with --out."


def require_writable(out: Path) -> None:
    """Make the directory of `out` and raise SupervisorError where a file cannot be written there; `out` is kept."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        new = not out.exists()
        with out.open("ab"):
            pass
        if new:
            out.unlink()
    except OSError as error:
        raise unusable(out, error, ADVICE) from error


def write_text(out: Path, text: str) -> None:
    """Write the file, its directory too; SupervisorError where that fails, e.g. because the disk is full."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unusable(out, error, ADVICE) from error
