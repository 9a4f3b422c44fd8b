"""Model files that a command line need not name: from environment variables and a settings file."""

from __future__ import annotations

import logging
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from ltxfilter.errors import OptionError
from ltxfilter.options import ModelOptions
from ltxfilter.user_folders import user_folder
from ltxfilter.values import parse_lora

log = logging.getLogger("ltxfilter.engines")

LARGEST = 1 << 20  # bytes of a settings file
PREFIX = "LTXFILTER_"  # LTXFILTER_CHECKPOINT, LTXFILTER_SPATIAL_UPSAMPLER, ...
FILE = PREFIX + "CONFIG"  # names another settings file
NAMES = tuple("lora" if field.name == "loras" else field.name for field in fields(ModelOptions))


def complete(models: ModelOptions, environment: Mapping[str, str] = os.environ) -> ModelOptions:
    """Return `models` with what it leaves open taken from the environment, then from the file.

    What is no settings file, such as a folder, is left out with a warning. Raises OptionError for
    a mistake in one, and for one that is named and missing.
    """
    found = {**_from_file(environment), **_from_environment(environment)}
    left = {name: value for name, value in found.items() if not getattr(models, name)}
    return replace(models, **left)


def settings_file(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return where the settings file is looked for: ~/.config/ltxfilter.toml unless told.

    None where the user has no home.
    """
    if told := environment.get(FILE):
        return Path(told)
    folder = user_folder("CONFIG", environment)
    return None if folder is None else folder / "ltxfilter.toml"


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what variables say; LoRAs are separated by commas, an empty one is none at all."""
    found: dict[str, Any] = {}
    for name in NAMES:
        text = environment.get(PREFIX + name.upper())
        if text and name == "lora":
            found["loras"] = tuple(parse_lora(part) for part in text.split(","))
        elif text and name == "distilled_lora":
            found[name] = parse_lora(text)
        elif text:
            found[name] = text
    return found


def _from_file(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the settings file says; relative paths begin at its folder."""
    path = settings_file(environment)
    if path is None:
        return {}
    try:
        entries = tomllib.loads(_text_of(path))
    except FileNotFoundError:
        if environment.get(FILE):
            raise OptionError(f"{FILE}={path}: no such file") from None
        return {}
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{path}: {error}") from None
    except (OSError, ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        _warn(path, "its values are nested too deeply" if deep else _reason(error))
        return {}
    return dict(_entry(path, name, value) for name, value in entries.items())


@cache
def _warn(path: Path, reason: str) -> None:
    """Say once that a settings file is left out."""
    log.warning("the settings file %s is left out: %s", path, reason)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    return str(getattr(error, "strerror", None) or error)


def _text_of(path: Path) -> str:
    """Return the text of a settings file. Raises OSError, and ValueError for what is none."""
    if not stat.S_ISREG(path.stat().st_mode):  # reading a named pipe would wait for its writer
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST} bytes")
    return data.decode("utf-8")


def _entry(path: Path, name: str, value: Any) -> tuple[str, Any]:
    """Return a field of ModelOptions and its value. Raises OptionError."""
    key = name.replace("-", "_")
    if key not in NAMES:
        raise OptionError(f"{path}: no setting {name!r}; there are {', '.join(NAMES)}")
    values = value if key == "lora" and isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in values):
        raise OptionError(f"{path}: {name} = {value!r} is not a text")
    if key in ("lora", "distilled_lora"):
        given = (parse_lora(text) for text in values)
        loras = tuple((_beside(path, file), strength) for file, strength in given)
        return ("loras", loras) if key == "lora" else (key, loras[0])
    return key, value if key in ("device", "prompt") else _beside(path, value)


def _beside(path: Path, file: str) -> str:
    try:
        return str(path.parent / Path(file).expanduser())
    except RuntimeError as error:
        raise OptionError(f"{path}: {file}: {error}") from None
