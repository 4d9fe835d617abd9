"""What our packages never do, read from their syntax trees."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "wanprep", "stages", "ray_jobs", "wanprep_infer")
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("torch.load", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "runpy.run_path"),
    *("pandas.read_pickle", "pd.read_pickle", "tempfile.mktemp"),
}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name or attribute, else nothing."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def loads_tensors_alone(call: ast.Call) -> bool:
    """Whether torch's unpickler is the one that knows tensors and nothing else."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "weights_only"]
    return [value.value for value in given if isinstance(value, ast.Constant)] == [True]


def parsed(source: str) -> ast.Module:
    """Bug of CPython 3.11: threads that parse at the same time share a counter, and one of them fails for it."""
    for _ in range(4):
        try:
            return ast.parse(source)
        except SystemError:
            time.sleep(0.1)
    return ast.parse(source)


def offences(source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            found = {name.partition(".")[0] for name in ([module] if module else names)} & MODULES
            yield from (f"line {node.lineno}: import {name}" for name in found)
            whole = {f"{module}.{name}" for name in names if module}
            yield from (f"line {node.lineno}: {name}" for name in whole & CALLS)
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in CALLS and not (name == "torch.load" and loads_tensors_alone(node)):
                yield f"line {node.lineno}: {name}()"
            for keyword in node.keywords:
                constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else "unknown"
                if keyword.arg in ("shell", "allow_pickle") and constant is not False:
                    yield f"line {node.lineno}: {name}({keyword.arg}=)"
                if keyword.arg == "Loader" and not dotted(keyword.value).endswith("SafeLoader"):
                    yield f"line {node.lineno}: {name}(Loader={dotted(keyword.value)})"
                if keyword.arg == "weights_only" and constant is not True:
                    yield f"line {node.lineno}: {name}(weights_only=)"


def test_no_package_can_be_made_to_run_data() -> None:
    found = []
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 80
    for path in files:
        found += [f"{path.relative_to(ROOT)}, {text}" for text in offences(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n import cloudpickle.x",
        "eval('1')",
        "exec(x)",
        "import torch\ntorch.load('x')",
        "torch.load('x', weights_only=False)",
        "torch.load('x', weights_only=flag)",
        "from torch import load",
        "import yaml\nyaml.load(x, Loader=yaml.SafeLoader)",
        "yaml.compose(x, Loader=yaml.UnsafeLoader)",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=flag)",
        "np.load('x', allow_pickle=True)",
        "os.system('ls')",
    ],
)
def test_the_search_finds_each_of_them(code: str) -> None:
    assert list(offences(code)) != []


def test_the_search_leaves_alone_what_is_safe() -> None:
    code = (
        "np.load(x, allow_pickle=False)\nsubprocess.run(['a'], shell=False)\nyaml.safe_load(x)\nmodel.eval()\n"
        "torch.load(x, weights_only=True)"
    )
    assert list(offences(code)) == []
