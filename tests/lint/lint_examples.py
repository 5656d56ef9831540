"""Examples of the rules, each analysed once."""

import functools
import importlib

import graphmem


def module_of(rule):
    return importlib.import_module(rule.module)


@functools.cache
def analysed(rule, which, name):
    example = getattr(module_of(rule), which)[name]
    options = {"torch_version": "2.13", "cudnn_version": "9.20", **example.options}
    return graphmem.analyze(example.build(), example.inputs(), **options)
