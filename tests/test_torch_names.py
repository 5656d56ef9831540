"""graphmem/_torch.py has every private name of torch, and says which one is missing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from graphmem.usercode.isolate import isolated
from support.floors import PACKAGE
from support.repo import ROOT
from support.torch_names import HOME, defined, names_of_torch, texts_of


def test_no_other_file_has_one() -> None:
    kept = texts_of(HOME.read_text())
    assert {"_cdata", "__dynamo_disable", "torch._dynamo", "_TorchDynamoContext."} <= kept
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if file != HOME]
    own: dict[Path, set[str]] = {}
    for file in files:
        own.setdefault(file.parent, set()).update(defined(ast.parse(file.read_text())))
    for names in own.values():
        names -= kept  # what has the same name as one of torch's is read as torch's
    found = [
        f"{file.relative_to(ROOT)}:{name}"
        for file in files
        for name in names_of_torch(file.read_text(), own[file.parent], kept)
    ]
    assert not found, "belongs into graphmem/_torch.py:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "import torch._dynamo",
        "import torch.utils._pytree as pytree",
        "from torch._subclasses.fake_tensor import FakeTensor",
        "from torch.utils import _device",
        "from torch import _neg_view",
        "from torch import _C",
        "from torch.multiprocessing.reductions import StorageWeakRef",
        "from torch.utils.checkpoint import CheckpointFunction",
        "torch._C.DisableTorchFunction()",
        "torch._neg_view(x)",
        "torch.cuda.amp.common.amp_definitely_not_available()",
        "F._canonical_mask(x)",
        "x.untyped_storage()._cdata",
        "op.target._schema.is_mutable",
        "fake._is_param = True",
        "module._apply(f)",
        "getattr(torch._C, name)",
        "getattr(tensor, '_version')",
        "patched(nn.Module, '_call_impl', f)",
        "importlib.import_module('torch._dynamo.config')",
        "logging.getLogger('torch._subclasses.fake_tensor')",
        "vars(f).pop('__dynamo_disable', None)",
        "name.startswith('_TorchDynamoContext.')",
    ],
)
def test_the_check_can_fail(line: str) -> None:
    assert list(names_of_torch(line, set(), texts_of(HOME.read_text())))


@pytest.mark.parametrize(
    "line",
    [
        "from graphmem._torch import FakeTensor",
        "import torch.nn.functional as F",
        "torch.ops.aten._softmax.default",
        "_aten._unsafe_view",
        "module._parameters",
        "self._made",
        "other._made",
        "import sys\nsys._getframe(1)",
        "f.__code__",
        "'a text'; '_id'; 'torch.nn.attention.flex_attention'",
        "def f():\n    '''torch._C in a docstring'''",
    ],
)
def test_the_check_lets_pass(line: str) -> None:
    assert not list(names_of_torch(line, {"_made"}, texts_of(HOME.read_text())))


_ONE_BY_ONE = """
import sys, torch
import torch.utils._device, torch.utils.checkpoint, torch.cuda.amp.common, torch.multiprocessing.reductions

MISSING = object()

def says(whole):
    owner, _, name = whole.rpartition(".")
    owner = eval(owner)
    before = owner.__dict__.get(name, MISSING)
    delattr(owner, name)
    sys.modules.pop("graphmem._torch", None)
    from graphmem.errors import TorchError
    try:
        import graphmem._torch
    except TorchError as error:
        assert error.exit_code == 2
        print(error.what)
    else:
        print("nobody missed", whole)
    setattr(owner, name, before)

for whole in sys.argv[1:]:
    says(whole)
import graphmem._torch
print("all there")
"""
_REMOVABLE = [
    "torch._subclasses.fake_tensor.FakeTensor",
    "torch._subclasses.fake_tensor.in_kernel_invocation_manager",
    "torch._subclasses.fake_tensor.UnsupportedOperatorException",
    "torch.utils._python_dispatch.TorchDispatchMode",
    "torch.utils._python_dispatch._disable_current_modes",
    "torch._C._DisableTorchDispatch",
    "torch._C.DisableTorchFunction",
    "torch._C._autograd._get_sequence_nr",
    "torch.autograd.graph.Node._sequence_nr",
    "torch.multiprocessing.reductions.StorageWeakRef",
    "torch._neg_view",
    "torch._C._get_sdp_priority_order",
    "torch._prims_common.suggest_memory_format",
    "torch.utils._device._device_constructors",
    "torch._GLOBAL_DEVICE_CONTEXT",
    "torch.utils.checkpoint._checkpoint_without_reentrant_generator",
    "torch.utils.checkpoint.CheckpointFunction",
    "torch.cuda.amp.common.amp_definitely_not_available",
]


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT
    )


@pytest.mark.slow
def test_a_missing_name_is_named() -> None:
    done = run(_ONE_BY_ONE, *_REMOVABLE)
    *said, last = done.stdout.splitlines()
    assert last == "all there", done.stderr
    assert len(said) == len(_REMOVABLE)
    for sentence, name in zip(said, _REMOVABLE, strict=True):
        expected = f"torch {torch.__version__} has no {name}, which graphmem needs to "
        assert sentence.startswith(expected), sentence


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["analyze", *(pytest.param(c, marks=pytest.mark.slow) for c in ("validate", "lint"))]
)
def test_the_command_line_says_which_and_what_to_do(command: str) -> None:
    code = (
        "import sys, torch\n"
        "del torch._subclasses.fake_tensor.in_kernel_invocation_manager\n"
        "from graphmem.cli import main\n"
        f"sys.exit(main(['{command}', 'samples/gpt2.py']))\n"
    )
    done = run(code)
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr == (
        f"graphmem: error: torch {torch.__version__} has no "
        "torch._subclasses.fake_tensor.in_kernel_invocation_manager, which graphmem needs to run a model without its "
        "weights\n  fix  pip install 'torch>=2.11,<2.14', and please report it\n"
    )


def test_what_torch_itself_misses_is_not_said_of_torch() -> None:
    from graphmem import _torch

    with pytest.raises(ModuleNotFoundError), _torch._needed("try"):
        import no_such_package  # noqa: F401


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning])
def test_what_torch_takes_away_is_an_error_in_an_analysis(category: type[Warning]) -> None:
    def warn(module: str) -> None:
        warnings.warn_explicit("torch.x is deprecated", category, "x.py", 1, module=module)

    with isolated():
        warn("transformers.models.x")
        for module in ("graphmem.trace.forward", "torch.nn.functional", "torch"):
            with pytest.raises(category):
                warn(module)


def test_the_range_is_that_of_the_package() -> None:
    from graphmem._torch import TRIED

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"torch{TRIED}" in project["dependencies"]


def source_of(module: str) -> str:
    """A module of torch's, read without importing it."""
    spec = find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    return Path(spec.origin).read_text()


def test_names_in_texts_are_torchs() -> None:
    """Nothing raises where these are gone, so this test has to."""
    from graphmem import _torch

    file = Path(torch.__file__).parent
    dynamo = file.joinpath(*_torch.DYNAMO.split(".")[1:])
    assert (dynamo / "__init__.py").exists()
    assert (dynamo / "config.py").exists()
    assert _torch.DYNAMO_SETTINGS.startswith(_torch.DYNAMO)
    evaluated = file.joinpath(*_torch.EVAL_FRAME.split(".")[1:]).with_suffix(".py").read_text()
    assert "_stance = DynamoStance()" in evaluated
    assert f"class {_torch.COMPILED_FRAME.rstrip('.')}:" in evaluated
    assert f'"{_torch.DYNAMO_DISABLED}"' in source_of("torch._compile")
    flex = file.joinpath(*_torch.FLEX_ATTENTION.split(".")[1:]).with_suffix(".py").read_text()
    assert "flex_attention = FlexAttentionHOP()" in flex
    assert '"_is_param"' in source_of("torch.nn.parameter")
    logger = re.escape("log = logging.getLogger(__name__)")
    assert re.search(logger, source_of(_torch.FAKE_TENSOR_LOGGER))


def test_accessors() -> None:
    from graphmem import _torch

    x = torch.ones(2, requires_grad=True)
    before = _torch.sequence_number()
    y = x * 2
    assert y.grad_fn is not None
    assert _torch.node_number(y.grad_fn) == before == _torch.sequence_number() - 1
    assert _torch.storage_id(y.untyped_storage()) == _torch.storage_id(y[1:].untyped_storage())
    assert _torch.schema_of(torch.ops.aten.add_.Tensor).is_mutable
    assert not _torch.schema_of(torch.ops.aten.add.Tensor).is_mutable
    assert _torch.default_device() is None
    linear = nn.Linear(2, 2)
    _torch.convert_tensors(linear, torch.Tensor.half)
    assert linear.weight.dtype == torch.float16
    fake = _torch.FakeTensor(_torch.FakeTensorMode(), torch.empty(1, device="meta"), torch.device("cpu"))
    assert not isinstance(fake, nn.Parameter)
    _torch.mark_parameter(fake)
    assert isinstance(fake, nn.Parameter)
    assert (fake.fake_device, fake.constant) == (torch.device("cpu"), None)
    assert not fake.fake_mode.in_kernel_invocation
