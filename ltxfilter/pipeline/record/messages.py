"""The warnings of a run, for its report."""

from __future__ import annotations

import logging
from typing import Self

from ltxfilter.values import without_secrets

MOST = 200  # messages that are kept


class Messages(logging.Handler):
    """Keeps what ltxfilter warns of while it is entered, each text once.

    Loggers belong to the process: where several runs go on in it at a time, their warnings mix.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: dict[str, int] = {}  # text -> how often
        self.left_out = 0  # messages beyond MOST

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of a record."""
        text = without_secrets(record.getMessage())
        if text in self._said or len(self._said) < MOST:
            self._said[text] = self._said.get(text, 0) + 1
        else:
            self.left_out += 1

    @property
    def texts(self) -> tuple[str, ...]:
        """What was said, in the order of the first time."""
        return tuple(self._said)

    def __enter__(self) -> Self:
        logging.getLogger("ltxfilter").addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        logging.getLogger("ltxfilter").removeHandler(self)
