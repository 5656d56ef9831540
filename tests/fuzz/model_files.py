"""Models that raise, change settings of the process, return odd things, keep tensors, or have odd names."""

from __future__ import annotations

import random

from fuzz.case import ANY, REFUSED, Case

TEMPLATE = """
import collections, ctypes, functools, gc, locale, logging, os, random, signal, sys, threading, types, warnings
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

KEPT, TABLE = [], {{}}
class OddError(Exception):
    def __str__(self):
        raise RuntimeError("no text")
class Stop(BaseException):
    pass
@functools.lru_cache
def cached(n):
    return torch.ones(n)
def closure():
    found = {{}}
    def keep(x):
        found["x"] = x
        return x
    return keep
keep = closure()
{top}

class Net(nn.Module):
    shared = []
    def __init__(self, h=16):
        super().__init__()
        self.a, self.b = nn.Linear(h, h), nn.Linear(h, h)
        self.kept, self.last = [], None
        {init}

    def forward(self, x):
        {before}
        y = self.b(torch.relu(self.a(x)))
        {after}
        return {result}


def model(h=16):
    {model}
    return {made}


def inputs(b=2, s=8, h=16):
    {inputs}
    return {given}

{loss}
"""
PLACES = ("top", "init", "before", "after", "model", "inputs")
RAISES = (
    *("raise ValueError('a\\x1b[31mb\\n::error::c')", "raise KeyError()", "raise Exception", "raise StopIteration", "raise OddError()"),
    *("raise SystemExit(3)", "raise SystemExit('bye')", "raise SystemExit", "raise KeyboardInterrupt", "raise GeneratorExit", "raise Stop"),
    *("raise MemoryError", "raise RecursionError", "1/0", "import missing_module_zz", "assert False", "assert x_is_missing", "exit()"),
    *("raise ExceptionGroup('g', [ValueError('x')])", "raise UnicodeDecodeError('utf8', b'x', 0, 1, 'bad')", "sys.exit('\\x1b]0;x')"),
    *("raise OSError(28, 'No space left')", "raise BrokenPipeError", "torch.empty(2, 3) @ torch.empty(2, 3)", "torch.empty(-1)"),
    *("nn.Linear('a', 2)", "(lambda f: f(f))(lambda f: f(f))", "raise type('E\\x1b', (Exception,), {})('m')", "raise NotImplementedError"),
    *("torch.ones(3).view(2)", "nn.Embedding(4, 4)(torch.tensor([9.5]))", "raise torch.cuda.OutOfMemoryError('no')", "None.x"),
)  # fmt: skip
SETTINGS = (
    *("torch.set_default_dtype(torch.float64)", "torch.set_grad_enabled(False)", "torch.manual_seed(0)", "random.seed(0)", "os.chdir('/')"),
    *("os.environ['ZZ'] = '1'", "os.environ.pop('HOME', None)", "logging.disable(50)", "warnings.simplefilter('error')", "gc.disable()"),
    *("logging.getLogger().handlers.append(logging.NullHandler())", "sys.setrecursionlimit(400)", "sys.path.insert(0, '/zz')"),
    *("signal.signal(signal.SIGINT, signal.SIG_IGN)", "signal.signal(signal.SIGUSR1, lambda *a: None)", "sys.argv = ['x']", "sys.argv.append('x')"),
    *("torch.autograd.set_detect_anomaly(True)", "torch.backends.cuda.matmul.allow_tf32 = True", "torch.use_deterministic_algorithms(True)"),
    *("torch.set_num_threads(2)", "torch.set_default_device('meta')", "torch.set_default_device('cpu')", "torch.backends.cudnn.benchmark = True"),
    *("torch.nn.modules.module.register_module_forward_hook(lambda *a: None)", "nn.Linear.forward = lambda self, x: x", "sys.stdout = None"),
    *("torch.cuda.is_available = lambda: True", "torch.nn.functional.relu = lambda x: x", "print = len", "gc.set_threshold(0)"),
    *("torch.set_float32_matmul_precision('high')", "torch.set_flush_denormal(True)", "torch.set_printoptions(precision=1)", "random.random()"),
    *("torch.rand(2)", "torch.set_autocast_enabled('cpu', True)", "torch.set_autocast_dtype('cuda', torch.float16)", "sys.setswitchinterval(1)"),
    *("torch.inference_mode().__enter__()", "torch.no_grad().__enter__()", "torch.autocast('cpu').__enter__()", "sys.excepthook = print"),
    *("torch.backends.cuda.enable_flash_sdp(False)", "torch._C._set_grad_enabled(False)", "sys.stdin = None"),
    *("sys.modules['helper_zz'] = types.ModuleType('helper_zz')", "locale.setlocale(locale.LC_ALL, 'C')"),
    *("torch.set_rng_state(torch.get_rng_state())", "sys.setprofile(None)", "threading.excepthook = print", "warnings.warn('x\\x1b[31m')"),
    *("torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)", "sys.dont_write_bytecode = False", "torch.set_warn_always(True)"),
)  # fmt: skip
IN_FORWARD = (
    *("self.kept.append(y)", "self.kept.append(y.detach())", "self.last = x", "self.last = {'a': [y]}", "Net.shared.append(y)", "KEPT.append(y)"),
    *("TABLE['y'] = (y, [y])", "keep(y)", "cached(3)", "self.new = y", "self.register_buffer('t', y.detach())", "globals()['made_here'] = y"),
    *("self.a.weight.data.mul_(2)", "self.a.weight.grad = torch.zeros_like(self.a.weight)", "self.c = nn.Linear(2, 2)", "del self.last"),
    *("self.a.register_forward_hook(lambda *a: None)", "y.register_hook(lambda g: g)", "self.eval()", "self.half()", "self.requires_grad_(False)"),
    *("y = checkpoint(self.a, y, use_reentrant=False)", "y = y.tolist()", "y = y + y.mean().item()", "y = y if y.sum() > 0 else -y", "y = y[y > 0]"),
    *("self.kept = collections.deque([y], 3)", "self.named = types.SimpleNamespace(y=y)", "x.add_(1)", "y = y.numpy()", "print('\\x1b[31m')"),
    *("y = y.to_sparse()", "y = torch.quantize_per_tensor(y, 0.1, 0, torch.qint8)", "y = torch.view_as_complex(y.view(*y.shape[:-1], -1, 2))"),
    *("y = torch.nested.nested_tensor([y[0], y[1]])", "y = y.cuda()", "y = y.cpu()", "y = y.to('meta')", "y = y.clone().requires_grad_()"),
    *("y = nn.LazyLinear(4)(y)", "y = torch.jit.script(nn.ReLU())(y)", "y = torch.compile(self.a)(y)", "y = nn.functional.dropout(y, 0.5)"),
    *("y = y.storage()", "y.data = y.data[:1]", "y.set_(y.new_empty(3))", "y = y.as_strided((2, 2), (1, 1))", "y.resize_(4)", "y = y.__deepcopy__({})"),
)  # fmt: skip
INITS = (
    *("setattr(self, 'a\\x1b[31m', nn.Linear(4, 4))", "self.add_module('x\\ny', nn.Linear(h, h))", "self.add_module('::error::', nn.ReLU())"),
    *("self.register_buffer('t', torch.zeros(3).to_sparse())", "self.q = nn.LazyLinear(3)", "self.b = self.a", "self.me = [self]", "self.a.bias = None"),
    *("self.register_parameter('p', None)", "self.w = nn.Parameter(torch.zeros(2, dtype=torch.complex64))", "self.a.weight.requires_grad_(False)"),
    *("self.t = torch.zeros(2)", "self.cuda()", "self.to('meta')", "self.half()", "self.l = nn.ModuleList([None])", "torch.manual_seed(1)", "self.x = self"),
    *("self.a = nn.utils.parametrizations.weight_norm(self.a)", "self.a = nn.utils.spectral_norm(self.a)", "self.h = lambda: self", "self.big = 10**400"),
    *("self.a.weight = nn.Parameter(torch.zeros(0, 16))", "self.__class__.__name__ = 'N\\x1b'", "self.a.weight.data = torch.zeros(16, 16).t()"),
)  # fmt: skip
RESULTS = (
    *("None", "'text'", "[y, [y, {'a': (y,)}]]", "(t for t in [y])", "y.sum()", "y.sum().item()", "{}", "[]", "object()", "{1: y}", "y.detach()"),
    *("type('O', (), {'loss': y.sum()})()", "{'loss': y.sum(), 'logits': y}", "{'loss': None, 'logits': y}", "x", "self", "y.to_sparse()", "y.long()"),
    *("(lambda d: d.update(d=d) or d)({'y': y})", "y.shape", "torch.nested.nested_tensor([y[0]])", "types.SimpleNamespace(loss='x', y=y)", "..."),
    *("self.a.weight", "y.view(-1)[:0]", "y, y", "collections.namedtuple('N', 'a b')(y, y)", "float('nan')", "functools.partial(print, y)", "[[y]] * 3"),
)  # fmt: skip
MADE = ("Net", "None", "'x'", "Net(h), 1", "nn.Module()", "nn.Sequential()", "Net(h).eval()", "torch.jit.script(nn.Linear(h, h))",
        "Net(h).half()", "Net(h).to('meta')", "nn.DataParallel(Net(h))", "lambda x: x", "Net(h).requires_grad_(False)",
        "nn.Linear(h, h)", "nn.LazyLinear(h)", "[Net(h)]", "Net(0)", "Net(h * 1.0)")  # fmt: skip
GIVEN = ("()", "None", "{}", "torch.randn(b, s, h)", "[torch.randn(b, s, h)]", "{'x': torch.randn(b, s, h)}", "{'zz': torch.randn(b)}",
         "(torch.randn(b, s, h).cuda(),)", "(torch.randn(b, s, h, device='meta'),)", "(torch.randn(b, s, h).to_sparse(),)", "(object(),)",
         "(torch.zeros(b, s, h, dtype=torch.int64),)", "(torch.zeros(0, h),)", "'x'", "(torch.randn(b, s, h, requires_grad=True),)",
         "iter([torch.randn(b, s, h)])", "(torch.randn(b, s, h), 1)", "{1: 2}", "(lambda l: l.append(l) or l)([])", "(torch.randn(10**9, s, h),)",
         "(nn.Parameter(torch.randn(b, s, h)),)", "{'x': [torch.randn(b, s, h)]}")  # fmt: skip
LOSSES = ("def loss(y): return y.mean()", "def loss(y): return None", "def loss(y): return y", "def loss(y): raise Stop", "loss = 3",
          "def loss(): return 1", "def loss(y): return y.detach().mean()", "def loss(y): return 1.0", "def loss(y): return (y.mean(), y)",
          "def loss(y): return torch.tensor(1.0)", "def loss(y):\n    KEPT.append(y)\n    return y.mean()")  # fmt: skip


def text_of(rng: random.Random) -> tuple[str, frozenset[int]]:
    """A model file with one or two odd things, and the exit codes that are right for it."""
    parts = {
        **dict.fromkeys(PLACES, "pass"),
        **{"result": "y", "made": "Net(h)", "given": "(torch.randn(b, s, h),)", "loss": ""},
    }
    codes = ANY
    for _ in range(rng.choice((1, 1, 2))):
        kind = rng.choice(("raises", "settings", "forward", "init", "result", "made", "given", "loss"))
        if kind == "raises":
            parts[rng.choice(PLACES)] = rng.choice(RAISES)
            codes = REFUSED
        elif kind == "settings":
            parts[rng.choice(PLACES)] = rng.choice(SETTINGS)
        elif kind == "forward":
            parts["after"] = rng.choice(IN_FORWARD)
        elif kind == "init":
            parts["init"] = rng.choice(INITS)
        else:
            parts[kind] = rng.choice({"result": RESULTS, "made": MADE, "given": GIVEN, "loss": LOSSES}[kind])
    # Nothing else makes a Net, or runs it.
    run = PLACES if parts["made"].startswith("Net(h)") else ("top", "model", "inputs")
    raising = codes == REFUSED and any(parts[place] in RAISES for place in run)
    return TEMPLATE.format(**parts), REFUSED if raising else ANY


def model_file(seed: int) -> Case:
    """One file, and a command that runs it."""
    rng = random.Random(f"model file {seed}")
    text, codes = text_of(rng)
    # What the model compiles in a real run stays in the process.
    real = ["analyze"] if "torch.compile" in text else ["validate", "--device", "cpu", "--steps", "1"]
    command = rng.choice((["analyze"], ["analyze"], ["lint"], ["analyze", "--device", "cpu"], real))
    return Case(
        kind="model_file",
        seed=seed,
        files={"model.py": text},
        arguments=(command[0], "model.py", *command[1:]),
        codes=codes,
    )
