from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ltxfilter

ROOT = Path(ltxfilter.__file__).parent
RANKS = [  # a module imports only from rows below its own, freely inside one folder
    {"errors"},
    {"values", "user_folders"},
    {"normalize"},
    {"frame", "options"},
    {"refusals", "colorimetry", "device_plane"},
    {"motion", "color", "scaling"},
    {"windows"},
    {"engines", "media"},
    {"pipeline"},
    {"jobs", "view"},
    {"compare"},
    {"api"},
    {"adapters"},
    {"cli"},
    {"__init__", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
DOORS = {  # package -> where it may be imported
    "av": ("media/",),
    "click": ("cli/",),
    "cv2": ("motion/", "engines/", "windows/cuts.py", "compare/"),
    "torch": (
        "motion/",
        "engines/",
        "media/python_pictures/",
        "color.py",
        "device_plane.py",
        "pipeline/",
        "cli/",
    ),
    "ltx_core": ("engines/ltx/",),
    "ltx_pipelines": ("engines/ltx/",),
    "gguf": ("engines/ltx/",),
    "transformers": ("engines/ltx/",),
    "onnxruntime": ("engines/onnx/",),
    "ray": ("jobs/ray_cluster/",),
    "vapoursynth": ("adapters/vapoursynth.py",),
    "comfy": ("adapters/comfyui.py",),
    "comfy_api": ("adapters/comfyui.py",),
    "folder_paths": ("adapters/comfyui.py",),
    "PIL": ("media/python_pictures/", "engines/ltx/"),
}
LARGEST = 400  # lines of a file; aim for 300
FULLEST = 12  # files of a folder, __init__.py and sub-folders not counted
LONGEST = 40  # lines of a function; a longer one says why: "# long, since ..."
KERNELS = (  # Triton's kernels: their language has no functions of Python to call
    "motion/cuda/align_ends.py", "motion/cuda/candidates.py", "motion/cuda/grid_kernels.py",
    "motion/cuda/picture_kernels.py", "motion/cuda/search.py",
    "motion/cuda/fusion/feature_kernels.py", "motion/cuda/fusion/sample_kernels.py",
)  # fmt: skip
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def imports(path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            if node.module == "ltxfilter":
                yield from (f"ltxfilter.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", FILES)
def test_imports_point_downwards_and_through_the_doors(path: str):
    home = path.removesuffix(".py").split("/")[0]
    assert home in RANK, f"{path}: no row in RANKS; where is it in the design?"
    for name in imports(path):
        package, _, module = name.partition(".")
        part = module.split(".")[0]
        if package == "ltxfilter" and not part.startswith("__") and part != home:
            assert RANK[part] < RANK[home], f"{path} may not import {name}"
        assert path.startswith(DOORS.get(package, path)), f"{path} may not import {name}"


def test_files_stay_small_and_say_what_they_are_for():
    for path in FILES:
        text = (ROOT / path).read_text()
        assert len(text.splitlines()) <= LARGEST, f"{path} does more than one thing"
        assert (ast.get_docstring(ast.parse(text)) or "").strip(), f"{path} has no docstring"


def test_folders_can_be_taken_in_at_a_glance():
    for folder in {(ROOT / path).parent for path in FILES}:
        files = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= FULLEST, f"{folder.relative_to(ROOT)} holds {len(files)} files"


def test_no_folder_is_a_drawer_for_everything():
    folders = {part for path in FILES for part in path.split("/")[:-1]}
    assert not folders & {"utils", "util", "core", "common", "misc", "helpers", "lib"}


def test_no_two_classes_share_a_name():
    homes: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(path)
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}


def functions(path: str) -> Iterator[tuple[ast.FunctionDef, str]]:
    """Yield every function of a file, with the text of its lines."""
    text = (ROOT / path).read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            yield node, "\n".join(lines[node.lineno - 1 : node.end_lineno])


def test_functions_stay_short_or_say_why_they_are_long():
    for path in FILES:
        for node, text in functions(path):
            assert node.end_lineno is not None
            documented = len((ast.get_docstring(node, clean=False) or "").splitlines())
            length = node.end_lineno - node.lineno + 1 - documented
            reason = "# long, since" in text or path in KERNELS
            assert length <= LONGEST or reason, f"{path}: {node.name} has {length} lines"


def test_sinks_do_not_ask_what_a_source_is():
    sources = {
        node.name
        for path in FILES
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Source")
    }
    for path in FILES:
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = {
                    n.id for arg in node.args[1:] for n in ast.walk(arg) if isinstance(n, ast.Name)
                }
                asks = node.func.id == "isinstance" and names & sources
                assert not asks, f"{path}:{node.lineno} asks for {names & sources}"


def test_engines_are_asked_for_what_their_contract_declares():
    for path in FILES:
        if path.startswith(
            ("pipeline/", "engines/auto.py", "engines/__init__.py", "cli/", "api/", "jobs/")
        ):
            for node in ast.walk(ast.parse((ROOT / path).read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id != "hasattr", f"{path}:{node.lineno}"


def test_no_engine_is_known_by_name_outside_its_folder():
    from ltxfilter.engines import ENGINES

    for path in FILES:
        if path.startswith("pipeline/"):
            for node in ast.walk(ast.parse((ROOT / path).read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    name = node.value.partition(":")[0]
                    assert name not in set(ENGINES) - {"auto"}, f"{path}:{node.lineno}: {name}"


def test_only_the_command_line_prints():
    for path in FILES:
        calls = {
            node.func.id
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert path.startswith("cli/") or not calls & {"print", "input", "breakpoint"}, path


def loaded_by(code: str, *argv: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after `code`."""
    script = (
        f"import sys, atexit\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n{code}"
    )
    command = [sys.executable, "-c", script, *argv]
    return set(subprocess.run(command, capture_output=True, text=True, check=False).stderr.split())


CLI = "from ltxfilter.cli.main import main; main()"


@pytest.mark.parametrize(
    ("code", "argv"),
    [
        ("import ltxfilter", ()),
        (CLI, ("--help",)),
        (CLI, ("--version",)),
        (CLI, ("engines",)),
        (CLI, ("compare", "--help")),
        (CLI, ("preview", "--help")),
        (CLI, ("--engin", "flow")),
        (CLI, ("-i", "a.mp4", "--fps", "fast", "b.mp4")),
    ],
)
def test_light_commands_import_nothing_heavy(code: str, argv: tuple[str, ...]):
    loaded = loaded_by(code, *argv)
    assert "ltxfilter" in loaded
    assert not loaded & {"av", "cv2", "torch", "ray", "transformers", "onnxruntime"}
    assert "numpy" not in loaded or code != CLI or argv == ("engines",)


def test_a_pipe_of_raw_video_starts_without_what_containers_need(tmp_path: Path):
    source = tmp_path / "in.y4m"
    source.write_bytes(b"YUV4MPEG2 W16 H16 F25:1 C420\n" + 3 * (b"FRAME\n" + bytes(384)))
    loaded = loaded_by(CLI, "-i", str(source), "--fps", "50", str(tmp_path / "out.y4m"))
    assert (tmp_path / "out.y4m").exists()
    assert "ltxfilter.media.raw.y4m" in loaded
    assert not loaded & {
        "importlib.metadata",
        "ltxfilter.jobs.driver",
        "ltxfilter.media.container",
        "ltxfilter.media.encoding.settings",
        "ltxfilter.media.network.address_output",
        "ltxfilter.media.segments.segment_file",
    }


POSIX = ["fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"]
POSIX_NAMES = "sched_getaffinity sched_getscheduler getuid geteuid mkfifo fork sysconf set_blocking"
IMPORTS = """
import importlib, os, pkgutil, select, sys
for name in ("av", "click", "cv2", "numpy", "torch", "transformers", "ltx_core", "ltx_pipelines",
             "onnxruntime"):
    try:
        importlib.import_module(name)  # other packages may import what they like
    except ImportError:
        pass
for name in sys.argv[1].split():
    sys.modules[name] = None
for name in sys.argv[2].split():
    delattr(os, name)
del select.poll
import ltxfilter
for module in pkgutil.walk_packages(ltxfilter.__path__, "ltxfilter."):
    if module.name != "ltxfilter.__main__":
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if error.name in (None, "ltxfilter") or error.name in sys.argv[1].split():
                raise
"""


@pytest.mark.skipif(sys.platform != "linux", reason="takes away what Linux has")
def test_the_package_imports_without_what_only_posix_has():
    command = [sys.executable, "-c", IMPORTS, " ".join(POSIX), POSIX_NAMES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_modules_of_posix_are_imported_inside_functions():
    for path in FILES:
        tree = ast.parse((ROOT / path).read_text())
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not set(names) & set(POSIX), f"{path}:{node.lineno}"


def test_the_package_offers_its_public_names():
    assert set(ltxfilter.__all__) <= set(dir(ltxfilter))
    for name in ltxfilter.__all__:
        assert getattr(ltxfilter, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ltxfilter.nothing


LTX_RANKS = [  # inside engines/ltx/, lowest first: a module imports only from rows below its own
    {"__init__", "latent_shape", "device"},
    {"weights"},
    {"models"},
    {"diffusion"},
    {"guides"},
    {"prompts", "memory_check"},
    {"shared"},
    {"keyframe", "temporal", "motion", "reference"},  # siblings
]


def test_the_ltx_engines_are_siblings_above_what_they_share():
    rank = {name: number for number, names in enumerate(LTX_RANKS) for name in names}
    folder, package = "engines/ltx/", "ltxfilter.engines.ltx."
    for path in (path for path in FILES if path.startswith(folder)):
        home = path.removeprefix(folder).removesuffix(".py").split("/")[0]
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                for name in (name for name in names if name.startswith(package)):
                    module = name.removeprefix(package).split(".")[0]
                    part = module if module in rank else "__init__"
                    assert part == home or rank[part] < rank[home], f"{path} may not import {name}"
