"""`graphmem lint`: memory mistakes, found in what a model keeps for backward, each in bytes and with a way out.

    command.py      the command: several targets, and what to leave out
    rules/          one file per rule, with examples that become tests
    rule.py         what a rule is, and how the chosen ones are found
    explain.py      rules for people: `graphmem rule`, and the pages in docs/rules
    example.py      what the examples are made of

    engine.py       rules over a report: spots -> findings
    context.py      what rules ask
    spot.py         what rules yield: one place in the trace
    finding.py      what lint says: the same places of all layers together
    norms.py        norms that are written out, for the rules about them
    checkpoints.py  what checkpoints hold; the model with and without them

    remeasure.py    a change, traced: what the model would keep
    fused.py        the change that puts a fused kernel in an attention's place

    threshold.py    what is too small to report
    suppress.py     comments that silence
    baseline.py     known findings
    formats/        findings as text, JSON, SARIF, GitHub annotations, Markdown

Nothing here imports torch before a model is analysed.
"""
