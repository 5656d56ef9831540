"""`graphmem validate`: the model is run for real, and what it keeps is compared with what was predicted.

    run.py        `graphmem.validate`: all points, one after the other; start here
    sweep.py      which points: s=512,1024 b=1,4
    predict.py    what the trace says about one step
    needs.py      whether that fits into the device
    model.py      the model with weights, and inputs with values
    step.py       warms up, then runs one step under watch
    watch.py      which storages autograd really keeps
    allocator.py  what the CUDA allocator counts
    compare.py    predicted and measured, side by side
    result.py     what was found, as data

    output.py     the formats
    text.py       a table
    json.py       JSON
    plot.py       a plot
    svg.py        line charts as SVG, for the plot

Nothing here imports torch before `run.py` does.
"""
