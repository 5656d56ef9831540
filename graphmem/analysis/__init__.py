"""From a subject to a report, and from a report to other points: where tracing and arithmetic meet.

analyze.py      `graphmem.analyze`: the stages in their order; start here
tracer.py       traces a subject at any point, each point once
depth.py        how often each layer is repeated
analysis.py     what a derivation says of modules and attentions, before any point is chosen
build.py        the analysis, evaluated at a point: a report
rows.py         the rows of its tables
limits.py       the rows that say where its formula does not hold
shares.py       what each attention has of a group that several keep
report.py       `Report`: these tables, and what can still be asked of the model behind them

at.py           `report.at`: where the formulas hold
solve.py        `report.solve`: the largest value within a budget
fit.py          `graphmem fit`: the same, with the parameters
parameters.py   bytes of the weights at any point
assert_fits.py  `graphmem.assert_fits`, for tests
"""
