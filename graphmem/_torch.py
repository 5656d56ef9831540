"""Every private name of torch that graphmem uses. No other file imports one: tests/test_torch_names.py looks for them.

torch promises nothing about these names, and a new release may move any of them. They are all looked up when this file
is imported, which is when an analysis begins, so a release that lacks one ends with a sentence that names it. Each
block says what the names are for and in which of torch's files they are. All of them are in torch 2.11 and in torch
2.13, where the tests ran.

Three kinds of names begin with an underscore and are not here:
- Operators, such as `torch.ops.aten._softmax`. They are what models run: aten/src/ATen/native/native_functions.yaml
  declares them, exported programs contain them, and graphmem's tables are about them.
- `_parameters`, `_buffers` and `_modules` of a module. Every pickled `nn.Module` contains these three, so torch cannot
  rename them.
- What a name below leads to: `FakeTensor.fake_device` is as private as `FakeTensor`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter, methodcaller
from types import ModuleType
from typing import Any

import torch
from torch import nn

from graphmem.errors import TorchError

# The releases in which graphmem was tried, as in pyproject.toml.
TRIED = ">=2.11,<2.14"


@contextmanager
def _needed(purpose: str) -> Iterator[None]:
    """Say in one sentence which name of torch the block could not find."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        missing = _missing(error)
        if missing is None:  # torch itself could not import something else
            raise
        raise TorchError(
            f"torch {torch.__version__} has no {missing}, which graphmem needs to {purpose}",
            hint=f"pip install 'torch{TRIED}', and please report it",
        ) from error


def _missing(error: ImportError | AttributeError) -> str | None:
    """The whole name of what an error says is missing; None where that is not torch's."""
    if isinstance(error, AttributeError):
        owner = error.obj
        if isinstance(owner, ModuleType):
            at = owner.__name__
        else:
            kind = owner if isinstance(owner, type) else type(owner)
            at = f"{kind.__module__}.{kind.__qualname__}"
        name = f"{at}.{error.name}"
    else:
        imported = re.search(r"cannot import name '(\w+)'", str(error))
        name = f"{error.name}.{imported[1]}" if imported else str(error.name)
    return name if name.startswith("torch.") else None


def _attribute(owner: Any, name: str) -> Callable[[Any], Any]:
    """A function that reads the attribute `name`, which `owner` shows to be there."""
    getattr(owner, name)
    return attrgetter(name)


def _place(owner: Any, name: str) -> tuple[Any, str]:
    """(owner, name) of something that is there: for replacing it."""
    getattr(owner, name)
    return owner, name


# Fake tensors: torch/_subclasses/fake_tensor.py. Their attributes constant, fake_device and fake_mode, and the mode's
# cache_enabled, are used as well.
with _needed("run a model without its weights"):
    from torch._subclasses.fake_tensor import DataDependentOutputException as DataDependentOutputException
    from torch._subclasses.fake_tensor import DynamicOutputShapeException as DynamicOutputShapeException
    from torch._subclasses.fake_tensor import FakeTensor as FakeTensor
    from torch._subclasses.fake_tensor import FakeTensorMode as FakeTensorMode
    from torch._subclasses.fake_tensor import UnsupportedOperatorException as UnsupportedOperatorException
    from torch._subclasses.fake_tensor import in_kernel_invocation_manager as in_kernel_invocation_manager

    # The logger of that file, by the name of its module.
    FAKE_TENSOR_LOGGER = FakeTensorMode.__module__

# Modes: torch/utils/_python_dispatch.py. What switches one off for a moment: torch/csrc/autograd/init.cpp and
# torch/csrc/utils/disable_torch_function.cpp.
with _needed("see every operator that runs"):
    from torch._C import DisableTorchFunction as DisableTorchFunction
    from torch.utils import _python_dispatch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass as is_traceable_wrapper_subclass

    class DispatchMode(TorchDispatchMode):
        """A mode whose calls torch.compile does not wrap, which takes as long as the rest of the call.

        torch wraps them so that they are not compiled (torch/utils/_python_dispatch.py, `__init_subclass__`, 2.13), and
        nothing compiles where graphmem's modes are on.
        """

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False

    DisableTorchDispatch = torch._C._DisableTorchDispatch
    disable_current_modes = _python_dispatch._disable_current_modes

# torch/csrc/functorch/init.cpp and torch/csrc/autograd/init.cpp.
with _needed("know whether autograd is as usual here"):
    functorch_level: Callable[[], int | None] = torch._C._functorch.maybe_current_level
    no_saved_tensors_hooks: Callable[[], str | None] = (
        torch._C._autograd._saved_tensors_hooks_get_disabled_error_message
    )

# An operator's schema says which arguments it writes into: torch/_ops.py.
with _needed("know what an operator writes into"):
    schema_of: Callable[[Any], torch._C.FunctionSchema] = _attribute(torch.ops.aten.add.Tensor, "_schema")

# Autograd's counter, and the number that a node got from it: torch/csrc/autograd/init.cpp and
# torch/csrc/autograd/python_cpp_function.h. torch/autograd/graph.py declares what every node has.
with _needed("connect operators with autograd's nodes"):
    sequence_number = torch._C._autograd._get_sequence_nr
    _attribute(torch.autograd.graph.Node, "_sequence_nr")
    node_number: Callable[[torch.autograd.graph.Node], int] = methodcaller("_sequence_nr")

# Storages by their address: torch/csrc/Storage.cpp and torch/multiprocessing/reductions.py, which is not
# documented. A weak reference keeps the address from being used again.
with _needed("know which tensors share a storage, and how long it lives"):
    from torch.multiprocessing.reductions import StorageWeakRef as StorageWeakRef

    storage_id: Callable[[torch.UntypedStorage], int] = _attribute(torch.UntypedStorage, "_cdata")

# What a view is a view of: torch/csrc/autograd/python_variable.cpp.
with _needed("build a model on the meta device"):
    base_of: Callable[[torch.Tensor], torch.Tensor | None] = _attribute(torch.Tensor, "_base")

# How a block begins in which saved tensors are packed by hooks: torch/csrc/autograd/init.cpp, called in
# torch/autograd/graph.py.
with _needed("see what a model's own hooks make of saved tensors"):
    PUSH_HOOKS = _place(torch._C._autograd, "_push_saved_tensors_default_hooks")

# The negative bit of a saved tensor: aten/src/ATen/native/native_functions.yaml.
with _needed("hand back a saved tensor as it was"):
    neg_view = torch._neg_view

# torch.backends.cuda has no function for it: torch/csrc/Module.cpp.
with _needed("choose the backend of scaled_dot_product_attention"):
    sdpa_priority_order = torch._C._get_sdp_priority_order

# In which memory format a kernel writes its output: torch/_prims_common/__init__.py.
with _needed("lay out the result of a batch norm"):
    from torch._prims_common import suggest_memory_format as suggest_memory_format

# Which functions make tensors: torch/utils/_device.py. The default device: torch/__init__.py.
with _needed("build a model on the meta device"):
    from torch.utils import _device

    device_constructors = _device._device_constructors
    _default_device = torch._GLOBAL_DEVICE_CONTEXT


def default_device() -> torch.device | None:
    """torch.set_default_device's argument. torch.get_default_device does not tell "cpu" from nothing, nor a default
    from a block with torch.device("cuda")."""
    context = getattr(_default_device, "device_context", None)
    return context.device if context is not None else None


# torch.utils.checkpoint calls the first with use_reentrant=False, and the second's `apply` otherwise:
# torch/utils/checkpoint.py.
with _needed("switch a checkpoint off"):
    import torch.utils.checkpoint

    CHECKPOINT_GENERATOR = _place(torch.utils.checkpoint, "_checkpoint_without_reentrant_generator")
    CHECKPOINT_FUNCTION = _place(torch.utils.checkpoint, "CheckpointFunction")

# torch.autocast("cuda") asks it whether there is a GPU: torch/cuda/amp/common.py, by torch/amp/autocast_mode.py.
with _needed("cast as on a machine with a GPU"):
    import torch.cuda.amp.common

    NO_CUDA_AUTOCAST = _place(torch.cuda.amp.common, "amp_definitely_not_available")

# The seeds that a GPU gets when it is first used: torch/cuda/__init__.py and torch/_utils.py.
with _needed("put back the seed of a GPU"):
    import torch.cuda

    _lazy_seeds = torch.cuda._lazy_seed_tracker
    _attribute(_lazy_seeds, "call_order")


def lazy_seeds() -> dict[str, Any]:
    """The latest seeds, and their order; compared as they are, since torch replaces what it changes."""
    return dict(vars(_lazy_seeds))


def set_lazy_seeds(seeds: dict[str, Any]) -> None:
    """What `lazy_seeds` gave."""
    vars(_lazy_seeds).update(seeds)


# torch.set_printoptions: torch/_tensor_str.py. Hooks for all modules: torch/nn/modules/module.py.
with _needed("put back what a model's file sets"):
    PRINT_OPTIONS = torch._tensor_str.PRINT_OPTS
    _GLOBAL_HOOKS = tuple(
        _attribute(torch.nn.modules.module, f"_global_{name}")(torch.nn.modules.module)
        for name in (
            "backward_pre_hooks", "backward_hooks", "forward_pre_hooks", "forward_hooks", "forward_hooks_always_called",
            "forward_hooks_with_kwargs", "buffer_registration_hooks", "module_registration_hooks",
            "parameter_registration_hooks",
        )
    )  # fmt: skip


def global_module_hooks() -> list[dict[int, Any]]:
    """The hooks that run for every module, by kind."""
    return [dict(hooks) for hooks in _GLOBAL_HOOKS]


def set_global_module_hooks(state: list[dict[int, Any]]) -> None:
    """What `global_module_hooks` gave."""
    for hooks, before in zip(_GLOBAL_HOOKS, state, strict=True):
        hooks.clear()
        hooks.update(before)


# torch.nn.Module.to, for floating-point tensors alone: torch/nn/modules/module.py.
with _needed("change the dtype of a model"):
    _attribute(nn.Module, "_apply")


def convert_tensors(module: nn.Module, convert: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Put `convert` of every parameter and buffer in its place."""
    module._apply(convert)


def mark_parameter(tensor: torch.Tensor) -> None:
    """Make isinstance(tensor, nn.Parameter) true of a subclass's tensor: _ParameterMeta in torch/nn/parameter.py."""
    tensor._is_param = True


# A CPU-only build has none: torch/csrc/cuda/Module.cpp.
clear_cublas_workspaces: Callable[[], None] | None = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)

# Names of what torch may not have loaded. Where torch renames one, nothing raises here: tests/test_torch_names.py does.
#
# std::array<std::atomic<const DeviceGuardImplInterface*>, COMPILE_TIME_MAX_DEVICE_TYPES> of libc10, slot = DeviceType:
# https://github.com/pytorch/pytorch/blob/v2.11.0/c10/core/impl/DeviceGuardImplInterface.h
DEVICE_GUARDS = "_ZN3c104impl26device_guard_impl_registryE"
# torch.compile's package and its settings; the module that calls its `disable` when a function is first called, and the
# attribute by which that remembers what it got for the function.
DYNAMO, DYNAMO_SETTINGS = "torch._dynamo", "torch._dynamo.config"
DYNAMO_ASKING, DYNAMO_DISABLED = "torch._compile", "__dynamo_disable"
# Its wrapper around a function, as opposed to what only switches it off, and the file that both are in.
COMPILED_FRAME, EVAL_FRAME = "_TorchDynamoContext.", "torch._dynamo.eval_frame"


def compile_stance() -> tuple[Any, str] | None:
    """(owner, name) of the variable that torch.compiler.set_stance sets; None where torch.compile is not imported."""
    if EVAL_FRAME not in sys.modules:
        return None
    with _needed("run what torch.compile wraps as it is written"):
        return _place(sys.modules[EVAL_FRAME], "_stance")


# The operator behind torch.nn.attention.flex_attention.
FLEX_ATTENTION = "torch._higher_order_ops.flex_attention"
