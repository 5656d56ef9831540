"""Sizes as expressions in the model's own integers: proposed from traces, proved at further points.

strategy.py    `derive_for`: at which points to derive; start here
derive.py      `derive`: from traces at these points to formulas and their proof
problem.py     what a derivation is asked for
tracer.py      what it asks of whoever traces for it
derivation.py  what it gives

points.py      which points to trace
probes.py      traces there that correspond to a base trace
align.py       which operators of two traces correspond
calls.py       which calls of attention correspond, and their shapes
limits.py      a base at which no input comes near what limits its length
single.py      one layer of each kind in place of several
spoiling.py    symbols without which the rest may have a formula
enough.py      whether that told as much as several would
miss.py        what a trace keeps that the formulas do not say
group.py       storages that differ only in their layer, or in the turn of a loop
loops.py       symbols that say how often a line runs

dims.py        an expression for every dimension of every storage
curves.py      one dimension, from its samples to an expression
compiled.py    expressions as functions of a point
wholes.py      sizes of whole windows
joined.py      sums of two sizes that other tensors have
roundings.py   the same where a rounding looks like something simpler
rivals.py      points that tell expressions apart which agree so far
beside.py      what is rounded: every symbol is moved by as little as the model takes
alone.py       a symbol moved alone, by as little as the model takes
nearby.py      single points there, each for what shows there
bounds.py      what is said of where the formula holds
within.py      within which lengths the formula holds
below.py       the least values at which it does
orders.py      which of two sizes has to be the larger one
ones.py        quotients that may become 1
whole_parts.py parts of dimensions that are whole numbers
holds.py       whether the formula holds at a point, and the model runs there
edges.py       the last value at which the formula holds
moving.py      what that value moves with

notes.py       sentences for the reader, and what they are about
text.py        expressions as people write them
read.py        expressions read from text
"""
