"""`graphmem lint`: memory mistakes, found in what a model keeps for backward, each in bytes and with a way out.

    rule.py               what a rule is; one file per rule in rules/, with examples that become tests
    spot.py, context.py   what rules say, and what they ask
    engine.py             rules over a report: spots -> findings
    remeasure.py          a change, traced: what the model would keep
    suppress.py, baseline.py   what not to report
    formats/              findings as text, JSON, SARIF, GitHub annotations, Markdown

Nothing here imports torch before a model is analysed.
"""
