"""Every measured call of scaled_dot_product_attention: the backend that an H100 chose, the storages that it kept."""

import collections

import pytest

from graphmem.trace import trace
from support.repo import measured
from support.sdpa_rows import Call, arguments
from support.slow import first_of

DATA = measured("h100_sdpa.json.gz")["rows"]
DTYPES = ("bfloat16", "float16", "float32")


@pytest.mark.parametrize("some", [pytest.param(1, marks=pytest.mark.slow), 19], ids=["all", "every 19th"])
@pytest.mark.parametrize("dtype", first_of(DTYPES))
def test_backend_and_storages(dtype, some, h100) -> None:
    rows = [row for row in DATA if row["dtype"] == dtype][::some]
    assert len(rows) > 600 / some
    wrong = []
    for row in rows:
        record = trace(Call(row), arguments(row), h100)
        kept = collections.Counter((s.nbytes, s.device) for s in record.storages if s.keeps)
        storages = {storage: (nbytes, device) for _, _, nbytes, storage, device in row["saved"]}
        if record.sdpa[0].backend != row["choice"] or kept != collections.Counter(storages.values()):
            wrong.append((row, record.sdpa[0], kept))
    assert not wrong, f"{len(wrong)} of {len(rows)}; the first: {wrong[0]}"
