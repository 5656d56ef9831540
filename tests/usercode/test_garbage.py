"""What Python knows of, also where somebody has frozen it: in processes of their own, where there is little to walk."""

from __future__ import annotations

import subprocess
import sys

from support.repo import ROOT

_THINGS = """
import gc
from graphmem.usercode.garbage import objects

class Thing:
    pass

def things():
    return {id(one) for one in objects() if type(one) is Thing}
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", _THINGS + code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_frozen_objects_are_found_and_stay_frozen() -> None:
    run("""
in_the_module = Thing()
gc.freeze()
before = gc.get_freeze_count()
assert id(in_the_module) in things()
assert gc.get_freeze_count() >= before - 10  # what dies is not frozen any more
""")


def test_what_only_a_new_object_leads_to_is_found() -> None:
    """A model that was there before, by what is made to analyse it."""
    run("""
def look():
    captured = Thing()
    def closure():
        return captured
    holder = {"loaded": closure}
    gc.freeze()
    made_since = [holder]
    assert id(made_since[0]["loaded"]()) in things()

look()
""")
