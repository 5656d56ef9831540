"""LSTM, GRU and RNN, which are not analysed for a GPU: cuDNN runs them, and what it keeps only cuDNN knows."""

from __future__ import annotations

from typing import Any, NoReturn

import torch

from graphmem.errors import MissingKernelError
from graphmem.kernels.registry import Replacement, replaces
from graphmem.machine import Machine
from graphmem.record import Trace


def _refusing(name: str) -> Replacement:
    def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise MissingKernelError(
            f"{name} runs in cuDNN on a GPU and keeps a reserve whose size only cuDNN knows",
            hint="--device cpu shows the rest of the model; recurrent layers are not analysed for a GPU",
        )

    def make(_machine: Machine, _trace: Trace) -> Any:
        return refuse

    return make


for _function in (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu):
    replaces(_function, on="cuda")(_refusing(_function.__name__))
