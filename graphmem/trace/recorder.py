"""`Recorder`: watches a forward from three sides and writes a `Trace`.

- a dispatch mode above fake mode sees every ATen operator below autograd;
- saved-tensor hooks see every tensor that autograd packs, and give it a holder whose death shows that the node let go;
- global module hooks say which module is running.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from graphmem.errors import TooLongError
from graphmem.kernels.registry import kernels_on
from graphmem.record import (
    CHECKPOINT,
    MARK,
    UNREACHED,
    Call,
    Keep,
    Op,
    Place,
    Ref,
    Storage,
    TensorFact,
    Trace,
)
from graphmem.trace.answers import Answers
from graphmem.trace.frames import checkpoint_under_way, user_frames
from graphmem.trace.lookups import check_lookup
from graphmem.trace.nodes import differentiated, nodes_by_sequence
from graphmem.trace.values import UnknownValueError, Values
from graphmem.usercode.layers import is_layer_list

_DEVICE = torch.ops.prim.device.default
_SELECTIONS = (torch.ops.aten.index.Tensor, torch.ops.aten.masked_select.default)


class _Holder:
    """What autograd holds in place of a tensor. It owns the storage, not the tensor: holding an output itself would
    close a reference cycle through its grad_fn, and the node would never die."""

    __slots__ = ("__weakref__", "device", "dtype", "offset", "shape", "storage", "stride")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.storage = tensor.untyped_storage()
        self.dtype, self.device, self.shape = tensor.dtype, tensor.device, tensor.shape
        self.stride, self.offset = tensor.stride(), tensor.storage_offset()


class _Packed:
    """A tensor was packed: the storage, the holder (weakly), the sequence number, the module call, and the checkpoint
    whose input it is."""

    __slots__ = ("call", "checkpoint", "holder", "sequence", "storage")

    def __init__(self, storage: int, holder: _Holder, sequence: int, call: int, checkpoint: Place | None) -> None:
        self.storage, self.holder = storage, weakref.ref(holder)
        self.sequence, self.call, self.checkpoint = sequence, call, checkpoint


class Recorder(TorchDispatchMode):
    """Fills `self.trace`: `placeholder` for what exists before forward, `watching` around forward, `finish` after."""

    def __init__(
        self,
        trace: Trace,
        module: torch.nn.Module,
        values: Values,
        mode: FakeTensorMode,
        answers: Answers,
        most_operators: int | None = None,
    ) -> None:
        super().__init__()
        self._mode, self._answers = mode, answers
        self._most = most_operators
        self.trace = trace
        self._values = values
        self._kernels = kernels_on(trace.device)
        self._names = {id(m): name for name, m in reversed(list(module.named_modules(remove_duplicate=False)))}
        trace.containers = frozenset(p for p, m in module.named_modules(remove_duplicate=False) if is_layer_list(m))
        self._storages: dict[int, int] = {}
        self._weak: list[StorageWeakRef] = []
        self._packed: list[_Packed] = []
        self._call = -1
        self._current_calls: list[tuple[int, torch.nn.Module | None]] = []
        self._module: torch.nn.Module | None = None

    # -- tensors that exist before forward -------------------------------------------------------------------------

    def placeholder(self, name: str, tensor: torch.Tensor, kind: str, value: torch.Tensor | None = None) -> None:
        """Enter a parameter, buffer or input before forward starts, with its real value where it has one."""
        ref = Ref(len(self.trace.ops), 0)
        fact = self._fact(tensor, ref, kind)
        self.trace.ops.append(Op(ref.op, name, (), {}, (fact,), -1, (), 0, kind))
        if value is not None:
            self._values.known[ref.op] = value
        setattr(tensor, MARK, ref)

    # -- operators -------------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # a question about a tensor, mostly its device: nothing is computed
            return args[0].device if func is _DEVICE else func(*args, **kwargs)
        if self._most is not None and len(self.trace.ops) >= self._most:
            raise TooLongError(f"forward runs more than {self._most} operators")
        sequence = torch._C._autograd._get_sequence_nr()
        seen_args = tuple(self._describe(a) for a in args)
        seen_kwargs = {k: self._describe(v) for k, v in kwargs.items()}
        try:
            made_here = self._kernels.results.get(func)
            result = made_here(args, kwargs) if made_here else self._answers.ask(self._mode, func, args, kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as question:
            result = self._answer(question, func, seen_args, seen_kwargs)
        check_lookup(self.trace, self._values, func, seen_args)
        if func in self._kernels.corrections:
            result = self._kernels.corrections[func](args, result)
        index = len(self.trace.ops)
        on_cpu = self._kernels.outputs_on_cpu.get(func, ())
        returned = result if isinstance(result, (tuple, list)) else (result,)
        facts = tuple(
            self._fact(value, Ref(index, i), "forward", "cpu" if i in on_cpu else None)
            if isinstance(value, torch.Tensor)
            else None
            for i, value in enumerate(returned)
        )
        stack, compiled = user_frames()
        self.trace.compiled |= compiled
        self.trace.ops.append(Op(index, func, seen_args, seen_kwargs, facts, self._call, stack, sequence))
        for i, value in enumerate(returned):
            if isinstance(value, torch.Tensor):
                setattr(value, MARK, Ref(index, i))
        if func._schema.is_mutable:
            self._note_writes(func, args, index)
        return result

    def _answer(self, question: Exception, func: Any, args: Any, kwargs: Any) -> Any:
        """What fake mode cannot say, from the values behind it."""
        if func in _SELECTIONS:  # how many are selected hangs on the mask or index alone
            fact = self.trace.ops[args[0].op].outputs[args[0].output]
            with _disable_current_modes():
                args = (torch.zeros((), dtype=fact.dtype).expand(fact.shape), *args[1:])
        try:
            real = self._values.run(func, args, kwargs)
        except UnknownValueError as unknown:
            given = self._values.given(next(iter(user_frames()[0]), None))
            if given is not None:
                return self._as_given(func, args, given)
            question.graphmem_reason = str(unknown)  # type: ignore[attr-defined]
            raise question from None
        if isinstance(real, torch.Tensor):
            return torch.empty_strided(real.size(), real.stride(), dtype=real.dtype, device=self.trace.device)
        if isinstance(real, (tuple, list)):
            return type(real)(
                torch.empty_strided(r.size(), r.stride(), dtype=r.dtype, device=self.trace.device) for r in real
            )
        return real

    def _as_given(self, func: Any, args: Any, given: float) -> Any:
        """The number itself, or so many rows of what has one for each element that is selected."""
        if func is torch.ops.aten._local_scalar_dense.default:
            return given
        fact = self.trace.ops[args[0].op].outputs[args[0].output]
        assert fact is not None
        shape = (int(given), len(fact.shape)) if func is torch.ops.aten.nonzero.default else (int(given),)
        dtype = torch.int64 if func is torch.ops.aten.nonzero.default else fact.dtype
        return torch.empty(shape, dtype=dtype, device=self.trace.device)

    def _note_writes(self, func: Any, args: Any, index: int) -> None:
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.is_write and isinstance(value, torch.Tensor):
                storage = self._storages.get(value.untyped_storage()._cdata)
                if storage is not None:
                    self._values.wrote(storage, index)

    def _describe(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            known = getattr(value, MARK, None)
            return known if known is not None else self._constant(value)
        if isinstance(value, (list, tuple)):
            return type(value)(self._describe(v) for v in value) if type(value) in (list, tuple) else value
        return value

    def _constant(self, tensor: torch.Tensor) -> Ref:
        """A tensor that nothing recorded: a constant in the user's code, or made while recording was off."""
        value = tensor.constant if isinstance(tensor, FakeTensor) else None if tensor.is_meta else tensor
        self.placeholder(f"constant_{len(self.trace.ops)}", tensor, "constant", value)
        return getattr(tensor, MARK)  # type: ignore[no-any-return]

    def _fact(self, tensor: torch.Tensor, ref: Ref, origin: str, device: str | None = None) -> TensorFact | None:
        try:
            storage = tensor.untyped_storage()
        except NotImplementedError:  # sparse and other layouts without one storage
            return None
        index = self._storages.get(storage._cdata)
        if index is None:
            index = len(self.trace.storages)
            self._storages[storage._cdata] = index
            # A weak reference also keeps the address from being used again, so _cdata stays an identity.
            self._weak.append(StorageWeakRef(storage))
            where = device or tensor.device.type
            self.trace.storages.append(Storage(index, storage.nbytes(), where, ref, origin))
        elif storage.nbytes() != self.trace.storages[index].nbytes:  # resize_
            self.trace.storages[index].nbytes = storage.nbytes()
        return TensorFact(
            index,
            tuple(tensor.shape),
            tuple(tensor.stride()),
            int(tensor.storage_offset()),
            tensor.dtype,
            tensor.device.type,
            tensor.requires_grad,
        )

    # -- what autograd packs ---------------------------------------------------------------------------------------

    def _pack(self, tensor: torch.Tensor) -> _Holder:
        holder = _Holder(tensor)
        index = self._storages.get(holder.storage._cdata)
        if index is None:
            with torch._C._DisableTorchDispatch():
                self._constant(tensor)
            index = self._storages[holder.storage._cdata]
        # The node that packs was numbered just before: autograd counts up when it makes a node.
        sequence = torch._C._autograd._get_sequence_nr() - 1
        self._packed.append(_Packed(index, holder, sequence, self._call, checkpoint_under_way()))
        return holder

    @staticmethod
    def _unpack(holder: _Holder) -> torch.Tensor:
        blank = torch.empty(0, dtype=holder.dtype, device=holder.device)
        return blank.set_(holder.storage, holder.offset, holder.shape, holder.stride)

    # -- modules ---------------------------------------------------------------------------------------------------

    def _enter(self, module: torch.nn.Module, _args: Any) -> None:
        path = self._names.get(id(module))
        if path is None:  # made during forward: named as its caller names it, or by its class
            above = self.trace.calls[self._call].path if self._call >= 0 else ""
            children = dict(self._module.named_children()) if self._module is not None else {}
            name = next((n for n, child in children.items() if child is module), type(module).__name__)
            path = f"{above}.{name}".lstrip(".")
        self._current_calls.append((self._call, self._module))
        self._module = module
        self.trace.calls.append(Call(path, type(module).__name__, self._call))
        self._call = len(self.trace.calls) - 1

    def _leave(self, _module: torch.nn.Module, _args: Any, _output: Any) -> None:
        self._call, self._module = self._current_calls.pop()

    def call_is(self, call: int) -> None:
        """What runs from here on belongs to that module call: for a replay, which calls no modules."""
        self._call = call

    @property
    def module_path(self) -> str:
        """Where forward is, for an error message."""
        return self.trace.calls[self._call].path if self._call >= 0 else ""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record until the block ends. Fake mode must already be active."""
        hooks = torch.nn.modules.module
        enter = hooks.register_module_forward_pre_hook(self._enter)
        leave = hooks.register_module_forward_hook(self._leave)
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack), self:
                yield
        finally:
            enter.remove()
            leave.remove()

    # -- afterwards ------------------------------------------------------------------------------------------------

    def finish(self, kept: list[torch.Tensor], state: list[torch.Tensor]) -> None:
        """Write down the fate of every storage; `kept` is what the caller still holds, `state` the module's buffers: a
        running statistic that forward made anew takes the place of the one before."""
        nodes = nodes_by_sequence(kept)
        ops, clones = differentiated(self.trace, nodes)
        keeps: dict[int, list[Keep]] = {}
        for packed in self._packed:
            if packed.holder() is not None:
                packed.sequence = clones.get(packed.sequence, packed.sequence)
                keep = _keep(packed, nodes, ops)
                known = keeps.setdefault(packed.storage, [])
                if keep not in known:
                    known.append(keep)
        for order, packed_storage in enumerate(keeps):
            self.trace.storages[packed_storage].packed = order
        for storage, weak in zip(self.trace.storages, self._weak, strict=True):
            storage.alive = not weak.expired()
            storage.keeps = tuple(keeps.get(storage.index, ()))
        for tensor in kept:
            index = self._storages.get(tensor.untyped_storage()._cdata)
            if index is not None:
                self.trace.storages[index].held = True
        for tensor in state:
            index = self._storages.get(tensor.untyped_storage()._cdata)
            if index is not None and self.trace.storages[index].origin == "forward":
                self.trace.storages[index].origin = "buffer"


def _keep(packed: _Packed, nodes: dict[int, str], ops: dict[int, int]) -> Keep:
    node = nodes.get(packed.sequence, UNREACHED)
    if packed.checkpoint is not None and "Checkpoint" not in node:  # its number is that of the node before
        return Keep(CHECKPOINT, -1, packed.call, packed.checkpoint)
    return Keep(node, ops.get(packed.sequence, -1), packed.call, packed.checkpoint)
