"""The structure of the package in numbers: rooms, arrows, longest files and functions.

    python -m benchmarks.house [FOLDER]

A room is a file or folder at the package's top level, an arrow one room that imports another.
FOLDER is the package to measure, so that two checkouts can be compared.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles


def main() -> None:
    """Print the numbers."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "ltxfilter")
    files = sorted(root.rglob("*.py"))
    trees = {path: ast.parse(path.read_text()) for path in files}
    rooms = {room_of(path, root) for path in files} - {"__init__", "__main__"}
    arrows = {
        (room_of(path, root), target)
        for path, tree in trees.items()
        for target in imports(tree, root.name)
        if room_of(path, root) in rooms and target in rooms and target != room_of(path, root)
    }
    lengths = sorted(((len(path.read_text().splitlines()), path) for path in files), reverse=True)
    functions = sorted(
        (
            (code_lines(node), f"{path.relative_to(root)}: {node.name}")
            for path, tree in trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
        ),
        reverse=True,
    )
    options = [path for path in files if "Options" in path.read_text()]
    print(f"files {len(files)}, rooms {len(rooms)}, arrows {len(arrows)}")
    print(f"fullest folder {max(full(folder) for folder in {p.parent for p in files})} files")
    print(f"files that name Options: {len(options)}")
    print("longest files: " + ", ".join(f"{p.relative_to(root)} {n}" for n, p in lengths[:5]))
    print("longest functions, docstrings not counted: " + ", ".join(
        f"{name} {count}" for count, name in functions[:5]
    ))  # fmt: skip
    counts = [count for count, _ in functions]
    middle, upper = median(counts), quantiles(counts)[-1]
    print(f"functions {len(counts)}, median {middle:.0f} lines, upper quartile {upper:.0f}")


def room_of(path: Path, root: Path) -> str:
    """Return the name of the top-level file or folder that holds a file."""
    return path.relative_to(root).parts[0].removesuffix(".py")


def imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the rooms that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == package and len(parts) > 1:
                yield parts[1]


def code_lines(node: ast.FunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    documented = len((ast.get_docstring(node, clean=False) or "").splitlines())
    return (node.end_lineno or node.lineno) - node.lineno + 1 - documented


def full(folder: Path) -> int:
    """Return how many files a folder holds, beside its sub-folders."""
    return len([path for path in folder.glob("*.py") if path.name != "__init__.py"])


if __name__ == "__main__":
    main()
