"""What pytest needs before any test: options, skipping without a GPU, and the machine that was measured."""

import signal

import hypothesis
import pytest
import torch

import graphmem.usercode.isolate
import graphmem.usercode.paths
from support.deprecations import Warnings

# The same examples every time, and no limit on the time of one: machines that test are busy. To search for others:
# --hypothesis-profile=default
hypothesis.settings.register_profile("same", deadline=None, derandomize=True, database=None, max_examples=50)
hypothesis.settings.load_profile("same")


# A shell starts what it runs in the background with Ctrl-C ignored, and tests of Ctrl-C would wait for it.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # tensors are small, and workers share the cores


def pytest_addoption(parser) -> None:
    parser.addoption("--overwrite", action="store_true", help="write current output into README and docs")


def pytest_collection_modifyitems(items) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no GPU here"))


@pytest.fixture(scope="session", autouse=True)
def deprecations(pytestconfig):
    """In every analysis, what pyproject.toml makes an error is one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphmem.usercode.isolate, "warnings", Warnings(pytestconfig.getini("filterwarnings")))
        yield


@pytest.fixture(scope="session")
def h100():
    """How tests/truth was measured."""
    from graphmem.how import read_how
    from support.reports import MEASURED

    return read_how(dict(MEASURED))
