"""One forward on fake tensors, written down as a `graphmem.record.Trace`.

forward.py        `trace`: one forward of a subject at one point; start here
recorder.py       watches that forward from three sides; its parts are the next six files

tape.py           writes operators and storages into the record, in the order in which they come by
packs.py          what autograd packs, and what of it is still held
reach.py          tensors that an object of the user's own hooks holds
calls.py          which module is running
frames.py         which lines of the user's are under way
nodes.py          autograd nodes, and the operators that they differentiate
fates.py          what became of every storage, once forward is over

starts.py         what backward starts from
beside.py         what forward returns beside its loss, and what that holds
left.py           what forward leaves in the module with a graph behind it
outputs.py        the tensors in what forward returns
fakes.py          fake tensors in place of the module's own
placed.py         plain tensors that a constructor puts on a GPU
unfit.py          tensors that no fake one can stand for
parts.py          what can change in a value, and how to put it back
undo.py           what a trace leaves in the module's own objects is taken out again
inputs.py         the tensors of an input, by their place in it
results.py        what an operator returns, as the machine would lay it out
answers.py        what fake mode has answered, so that it is asked once
alike.py          one answer of fake mode that does for every size, where the shape is kept
direct.py         operators that are answered past fake mode, which takes several times as long

values.py         values of small tensors, where forward asks for one
traits.py         what an operator does to the value of its result
assumed.py        values that are taken for granted: balanced experts, nothing NaN, the user's answers
draws.py          random numbers that forward decides by
lookups.py        rows that an embedding does not have

failures.py       from an exception in forward to an error with the user's line
compile_apart.py  a trace without torch.compile
replay.py         a trace run again with some operators swapped: how lint measures a fix
"""

from graphmem.trace.forward import trace

__all__ = ["trace"]
