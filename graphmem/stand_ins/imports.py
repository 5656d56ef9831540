"""`StandIns`: finders before and behind Python's own, and the bookkeeping that undoes what they let in."""

from __future__ import annotations

import dis
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from importlib.abc import Loader
from importlib.metadata import DistributionFinder, MetadataPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from graphmem.patches import Here

PACKAGES = Path(__file__).with_name("packages")
NAMES = ("flash_attn", "flash_attn_interface", "xformers")
# Compiled parts of real packages, which their Python code imports and which only run on a GPU.
EXTENSIONS = {"flash_attn_2_cuda": "flash_attn", "flash_attn_3._C": "flash_attn_3"}
# Modules of real packages that launch kernels from Python, which fake tensors do not survive.
LEAVES = (
    "flash_attn.cute",
    "flash_attn.cute.interface",
    "flash_attn.ops.activations",
    "flash_attn.ops.fused_dense",
    "flash_attn.ops.layer_norm",
    "flash_attn.ops.rms_norm",
    "flash_attn.ops.triton.cross_entropy",
    "flash_attn.ops.triton.layer_norm",
    "flash_attn.ops.triton.rotary",
)
_HELD = (*NAMES, *EXTENSIONS)
_INSTALL = (
    "FLASH_ATTENTION_SKIP_CUDA_BUILD=TRUE FLASH_ATTENTION_FORCE_BUILD=TRUE "
    "pip install --no-build-isolation flash-attn==2.8.3"
)

# Stand-ins that were imported once, and real modules that were imported with a part exchanged.
_kept: dict[str, ModuleType] = {}


class StandIns:
    """While active, `used` lists what got a stand-in, in the order of import."""

    def __init__(self, without: frozenset[str]) -> None:
        self.without = without
        self.used: list[str] = []
        self.refused: list[str] = []
        self._finders = (_Before(self), _Behind(self))
        self._before: set[str] = set()
        self._undo = ExitStack()

    def __enter__(self) -> StandIns:
        self._before = set(_loaded())
        with self._undo:  # where this raises, nobody calls __exit__
            self._exchange_leaves()
            self._undo = self._undo.pop_all()
        sys.meta_path.insert(0, self._finders[0])
        sys.meta_path.append(self._finders[1])
        return self

    def __exit__(self, *exc: object) -> None:
        for finder in self._finders:
            if finder in sys.meta_path:  # the user's code may have taken it out
                sys.meta_path.remove(finder)
        self._undo.close()
        entered = [name for name in _loaded() if name not in self._before]
        if not any(_is_ours(sys.modules[name]) or name in _kept for name in entered):
            return  # a complete package, or none
        for name in entered:
            module = sys.modules.pop(name)
            parent, _, child = name.rpartition(".")
            if parent in self._before and vars(sys.modules[parent]).get(child) is module:
                delattr(sys.modules[parent], child)
            if not self._before:
                _kept[name] = module

    def wanted(self, name: str) -> bool:
        """Nobody asked to be without this module or a package around it."""
        return not any(name == other or name.startswith(other + ".") for other in self.without)

    def _exchange_leaves(self) -> None:
        """In real packages that the user's process has imported already, exchange the functions of LEAVES."""
        if "flash_attn" not in self._before:
            return
        for leaf in LEAVES:
            real = sys.modules.get(leaf)
            if real is None or _is_ours(real) or not self.wanted(leaf):
                continue
            ours = vars(_leaf(leaf))
            self.used.append(leaf)
            for name, old in list(vars(real).items()):
                new = ours.get(name)
                # The forward of an nn.Module looks its functions up where they are exchanged.
                if callable(old) and new is not None and new is not old and not _is_layer(old):
                    self._exchange(old, new)

    def _exchange(self, old: Any, new: Any) -> None:
        """Wherever a module of flash_attn has `old` by some name, give it `new`."""
        for name in self._before:
            namespace = vars(sys.modules[name])
            for key in [key for key, value in namespace.items() if value is old]:
                namespace[key] = new
                self._undo.callback(namespace.update, {key: old})

    def again(self, name: str) -> ModuleType | None:
        """The module as an earlier block left it; a second copy would define its operators anew."""
        return None if self._before else _kept.get(name)


class _Before:
    """Ahead of Python's finders: parts of real packages that have to be exchanged."""

    def __init__(self, owner: StandIns) -> None:
        self._owner, self._here = owner, Here()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        if not self._here:  # another thread imports what is really installed
            return None
        if name.partition(".")[0] not in NAMES and name not in EXTENSIONS:
            return None
        if not self._owner.wanted(name):
            return None
        kept = self._owner.again(name)
        if kept is not None:
            loader = _Again(kept, self._owner)
            return importlib.machinery.ModuleSpec(name, loader, is_package=hasattr(kept, "__path__"))
        if name not in LEAVES and name not in EXTENSIONS and name not in NAMES:
            return None
        if name in EXTENSIONS:
            around = sys.modules.get(EXTENSIONS[name])
            if around is None or _is_ours(around):
                return None
            return importlib.machinery.ModuleSpec(name, _Extension(self._elsewhere(name, path), self._owner))
        if name in LEAVES:
            parent = sys.modules.get(name.rpartition(".")[0])
            return None if parent is None or _is_ours(parent) else _spec(name, self._owner)
        found = self._elsewhere(name, path)  # a folder that happens to have the name is not a package
        return _spec(name, self._owner) if found is not None and found.origin is None else None

    def _elsewhere(self, name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self and not isinstance(finder, _Behind):
                spec = finder.find_spec(name, path)
                if spec is not None:
                    return spec
        return None


class _Behind(DistributionFinder):
    """Behind Python's finders: packages that are not installed."""

    def __init__(self, owner: StandIns) -> None:
        self._owner, self._here = owner, Here()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        top = name.partition(".")[0]
        if not self._here or top not in NAMES or not self._owner.wanted(name):
            return None
        parent = sys.modules.get(name.rpartition(".")[0]) if top != name else None
        if top != name and not (parent is not None and _is_ours(parent)):
            return None
        spec = _spec(name, self._owner)
        if spec is None and sys._getframe(2).f_code.co_name == "_find_and_load_unlocked":  # not merely asking
            self._owner.refused.append(name)
            raise ModuleNotFoundError(_lacks(top, f"module {name}"), name=name)
        return spec

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterator[Any]:
        if not self._here:
            return
        name = context.name if context is not None else None
        inside = DistributionFinder.Context(name=name, path=[str(PACKAGES)])
        for found in MetadataPathFinder.find_distributions(inside):
            if all(self._owner.wanted(package) for package in (found.read_text("top_level.txt") or "").split()):
                yield found


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a stand-in and makes it explain a missing name."""

    def __init__(self, name: str, path: str, owner: StandIns | None) -> None:
        super().__init__(name, path)
        self._owner = owner

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        top = module.__name__.partition(".")[0]
        module.__dict__.setdefault("__getattr__", _explain(module.__name__, top))
        if self._owner is not None:
            self._owner.used.append(module.__name__)


class _Extension(Loader):
    """The compiled module where it loads, else an empty one."""

    def __init__(self, real: importlib.machinery.ModuleSpec | None, owner: StandIns) -> None:
        self._real, self._owner = real, owner
        self.loaded = False

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        if self._real is None or self._real.loader is None:
            return None
        try:
            module = self._real.loader.create_module(self._real)
        except ImportError:  # no driver, or built for another torch
            return None
        self.loaded = True
        return module

    def exec_module(self, module: ModuleType) -> None:
        if self.loaded and self._real is not None and self._real.loader is not None:
            self._real.loader.exec_module(module)
        else:
            self._owner.used.append(module.__name__)


class _Again(Loader):
    """A module that is there already."""

    def __init__(self, module: ModuleType, owner: StandIns) -> None:
        self._module, self._owner = module, owner
        self._spec, self._path = module.__spec__, getattr(module, "__path__", None)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
        if self._path is not None:
            module.__path__ = self._path
        if _is_ours(module):
            self._owner.used.append(module.__name__)


@cache
def _leaf(name: str) -> ModuleType:
    """A stand-in's module, imported under no name."""
    spec = _spec(name, None)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _spec(name: str, owner: StandIns | None) -> importlib.machinery.ModuleSpec | None:
    """The stand-in's own file for a module, None where there is none."""
    base = PACKAGES.joinpath(*name.split("."))
    package = base.is_dir()
    file = base / "__init__.py" if package else base.with_suffix(".py")
    if not file.is_file():
        return None
    loader = _Loader(name, str(file), owner)
    spec = importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=[])
    assert spec is not None
    # No search path: children come through _Behind, which explains what is missing.
    spec.submodule_search_locations = [] if package else None
    return spec


def _loaded() -> list[str]:
    if not any(name.partition(".")[0] in sys.modules for name in _HELD):  # in every trace, of thousands of modules
        return []
    possible = [name for name in sys.modules if name.startswith(_HELD)]
    return [name for name in possible if name.partition(".")[0] in NAMES or name in _HELD]


def _is_ours(module: ModuleType) -> bool:
    loader = getattr(module.__spec__, "loader", None)
    return isinstance(loader, _Loader) or (isinstance(loader, _Extension) and not loader.loaded)


def _is_layer(value: Any) -> bool:
    """An nn.Module: its forward looks functions up where they are exchanged."""
    return isinstance(value, type) and hasattr(value, "register_buffer")


def _lacks(top: str, what: str) -> str:
    text = f"graphmem's stand-in for {top} has no {what}"
    if top.startswith("flash_attn"):
        return f"{text}; the real Python package needs neither a GPU nor a compiler: {_INSTALL}"
    return f"{text}; install {top}, or set the model to another attention"


def _explain(name: str, top: str) -> Callable[[str], Any]:
    def missing(attribute: str) -> Any:
        text = _lacks(top, f"{name}.{attribute}")
        frame = sys._getframe(1)
        importing = frame.f_code.co_code[frame.f_lasti] == dis.opmap["IMPORT_FROM"]
        if importing and _spec(f"{name}.{attribute}", None) is None:
            raise ImportError(text, name=name)  # Python would say no more than that the name cannot be imported
        raise AttributeError(text, name=attribute)

    return missing
