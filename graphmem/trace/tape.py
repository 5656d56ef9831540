"""`Tape`: writes operators and storages into a record, in the order in which they come by."""

from __future__ import annotations

from typing import Any

import torch

from graphmem._torch import DisableTorchDispatch, FakeTensor, StorageWeakRef, schema_of, storage_id
from graphmem.kernels.registry import kernels_on
from graphmem.record import MARK, Op, Place, Ref, Storage, TensorFact, Trace
from graphmem.trace.unfit import refuse_unfit
from graphmem.trace.values import Values


class Tape:
    """Knows each tensor of a forward by the mark that it gave it, and each storage by its address.

    weak: a weak reference to each of `record.storages`. It tells later whether the storage is alive, and until then
    keeps the address from being used again, so that the address is an identity.
    """

    def __init__(self, record: Trace, values: Values) -> None:
        self.record, self._values = record, values
        self._outputs_on_cpu = kernels_on(record.device).outputs_on_cpu
        self._storages: dict[int, int] = {}
        self.weak: list[StorageWeakRef] = []

    def placeholder(self, name: str, tensor: torch.Tensor, kind: str, value: torch.Tensor | None = None) -> Ref:
        """Enter what no operator made: a parameter, buffer, input or constant; with its real value where it has one."""
        ref = Ref(len(self.record.ops), 0)
        fact = self._fact(tensor, ref, kind)
        self.record.ops.append(Op(ref.op, name, (), {}, (fact,), -1, (), 0, kind))
        if value is not None:
            self._values.known[ref.op] = value
        setattr(tensor, MARK, ref)
        return ref

    def described(self, value: Any) -> Any:
        """An argument with references in place of tensors."""
        if isinstance(value, torch.Tensor):
            known = getattr(value, MARK, None)
            return known if known is not None else self._constant(value)
        if type(value) in (list, tuple):
            return type(value)(self.described(v) for v in value)
        return value

    def operator(
        self,
        func: Any,
        args: tuple[Any, ...],
        described: tuple[tuple[Any, ...], dict[str, Any]],
        result: Any,
        *,
        call: int,
        stack: tuple[Place, ...],
        sequence: int,
    ) -> None:
        """Enter an operator that ran, and mark what it returned. `described`: its arguments, as recorded."""
        index = len(self.record.ops)
        on_cpu = self._outputs_on_cpu.get(func, ())
        returned = result if isinstance(result, (tuple, list)) else (result,)
        facts = tuple(
            self._fact(value, Ref(index, i), "forward", "cpu" if i in on_cpu else None)
            if isinstance(value, torch.Tensor)
            else None
            for i, value in enumerate(returned)
        )
        self.record.ops.append(Op(index, func, *described, facts, call, stack, sequence))
        for i, value in enumerate(returned):
            if isinstance(value, torch.Tensor):
                setattr(value, MARK, Ref(index, i))
        if schema_of(func).is_mutable:
            self._note_writes(func, args, index)

    def living(self) -> set[int]:
        """The storages that something holds now."""
        return {index for index, weak in enumerate(self.weak) if not weak.expired()}

    def known(self, tensor: torch.Tensor) -> Storage | None:
        """The storage of a tensor; None where nothing recorded it.

        Raises:
            ModelError: it has not one storage.
        """
        if tensor.layout is not torch.strided:
            refuse_unfit(tensor, "a tensor that forward returned or kept")
        index = self._storages.get(storage_id(tensor.untyped_storage()))
        return None if index is None else self.record.storages[index]

    def index(self, identity: int) -> int | None:
        """The index of a storage by its address; None where nothing recorded it."""
        return self._storages.get(identity)

    def entered(self, tensor: torch.Tensor) -> int:
        """The index of a tensor's storage; a constant is entered where nothing recorded it."""
        address = storage_id(tensor.untyped_storage())
        if address not in self._storages:
            with DisableTorchDispatch():
                self._constant(tensor)
        return self._storages[address]

    def _note_writes(self, func: Any, args: tuple[Any, ...], index: int) -> None:
        for argument, value in zip(schema_of(func).arguments, args, strict=False):
            if argument.is_write and isinstance(value, torch.Tensor):
                storage = self.known(value)
                if storage is not None:
                    self._values.wrote(storage.index, index)

    def _constant(self, tensor: torch.Tensor) -> Ref:
        """Enter a tensor that nothing recorded: a constant in the user's code, or made while recording was off."""
        value = tensor.constant if isinstance(tensor, FakeTensor) else None if tensor.is_meta else tensor
        return self.placeholder(f"constant_{len(self.record.ops)}", tensor, "constant", value)

    def _fact(self, tensor: torch.Tensor, ref: Ref, origin: str, device: str | None = None) -> TensorFact | None:
        """`device`: where the storage really is, if not where the tensor says."""
        try:
            storage = tensor.untyped_storage()
        except NotImplementedError:  # sparse and other layouts without one storage
            return None
        return TensorFact(
            self._index(storage, ref, origin, device or tensor.device.type),
            tuple(tensor.shape),
            tuple(tensor.stride()),
            int(tensor.storage_offset()),
            tensor.dtype,
            tensor.device.type,
            tensor.requires_grad,
        )

    def _index(self, storage: torch.UntypedStorage, born: Ref, origin: str, device: str) -> int:
        address = storage_id(storage)
        index = self._storages.get(address)
        if index is None:
            index = len(self.record.storages)
            self._storages[address] = index
            self.weak.append(StorageWeakRef(storage))
            self.record.storages.append(Storage(index, storage.nbytes(), device, born, origin))
        elif storage.nbytes() != self.record.storages[index].nbytes:  # resize_
            self.record.storages[index].nbytes = storage.nbytes()
        return index
