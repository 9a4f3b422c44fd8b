"""What commands print: text on standard output, in place of frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from ltxfilter.errors import OutputError


def write_text(text: str, *, newline: bool = True) -> None:
    """Write to standard output. Raises OutputError where it cannot be written, as on a full disk.

    Raises BrokenPipeError where its reader has left.
    """
    with named_stdout():
        click.echo(text, nl=newline)


@contextmanager
def named_stdout() -> Iterator[None]:
    """Raise an OSError as an OutputError that names standard output; BrokenPipeError stays."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror or error}") from error
