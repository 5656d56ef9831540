"""torch.compile stays out of a trace, and whoever wants it gets it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_START = """
import sys
import torch
from graphmem.trace.compile_apart import compile_apart
from torch._subclasses.fake_tensor import FakeTensorMode
"""


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", _START + code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_it_is_not_imported() -> None:
    code = "with compile_apart(), FakeTensorMode():\n    torch.nn.functional.gelu(torch.ones(3)) / 2"
    assert run(f"{code}\nprint('torch._dynamo' in sys.modules, '_dynamo' in vars(torch))") == "False False"


@pytest.mark.slow
@pytest.mark.parametrize(
    "wanted",
    [
        "import torch._dynamo.source; found = torch._dynamo.source.__name__",
        "from torch._dynamo import source; found = source.__name__",
        "import torch._dynamo as d; d.is_compiling(); found = sys.modules['torch._dynamo.source'].__name__",
        "torch.compile(lambda x: x, backend='eager')(torch.ones(1)); found = torch._dynamo.source.__name__",
    ],
)
def test_whoever_wants_it_gets_it(wanted: str) -> None:
    """Every module once, and the package as it is without a trace."""
    code = f"with compile_apart():\n    {wanted}\nfrom torch._dynamo import source, guards\n"
    code += "assert torch._dynamo is sys.modules['torch._dynamo'] and type(torch._dynamo).__name__ == 'module'\n"
    code += "assert guards.Source is source.Source and source.__spec__.loader is source.__loader__\nprint(found)"
    assert run(code) == "torch._dynamo.source"


@pytest.mark.slow
def test_functions_are_kept_from_it_afterwards() -> None:
    """What was called during a trace is not left without its `disable`."""
    code = "with compile_apart(), FakeTensorMode():\n    torch.nn.functional.gelu(torch.ones(3)) / 2\n"
    code += "raw = FakeTensorMode.__torch_dispatch__.__wrapped__\nprint(hasattr(raw, '__dynamo_disable'))\n"
    assert run(code) == "False"
    code += "with FakeTensorMode():\n    torch.ones(3) / 2\nprint(raw.__dynamo_disable is not raw)"
    assert run(code).split() == ["False", "True"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "made",
    [
        "torch.compiler.disable(lambda x: x)",
        "torch.compiler.disable(recursive=False)(lambda x: x)",
        "ThreadPoolExecutor().submit(torch.compiler.disable, lambda x: x).result()",
    ],
)
def test_what_the_user_disables_stays_disabled(made: str) -> None:
    """Also in another thread, which trains; and what cannot be disabled does not get in the way."""
    code = f"from concurrent.futures import ThreadPoolExecutor\nwith compile_apart():\n    made = {made}\n"
    code += "    assert torch.compiler.disable(abs)(-2) == 2\nprint(made(3), hasattr(made, '_torchdynamo_disable'))"
    assert run(code) == "3 True"


@pytest.mark.slow
def test_another_threads_functions_are_wrapped_for_good() -> None:
    """An optimizer's first step calls what torch wraps lazily."""
    code = "from concurrent.futures import ThreadPoolExecutor\nfrom torch._compile import _disable_dynamo\n"
    code += "def step():\n    return 3\nwith compile_apart():\n    pool = ThreadPoolExecutor()\n"
    code += "    print(pool.submit(_disable_dynamo(step)).result())\nprint(step.__dynamo_disable is not step)"
    assert run(code).split() == ["3", "True"]


@pytest.mark.slow
def test_it_can_be_looked_for() -> None:
    code = "import importlib.util\nwith compile_apart():\n    found = importlib.util.find_spec('torch._dynamo')\n"
    assert (
        run(f"{code}print(found == importlib.util.find_spec('torch._dynamo'), 'torch._dynamo' in sys.modules)")
        == "True False"
    )
