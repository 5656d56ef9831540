"""`Tracer`: traces a subject at any point, each point once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from graphmem.errors import ModelError
from graphmem.how import How
from graphmem.load import Subject
from graphmem.load.subject import inputs_with_values
from graphmem.machine.pretend import answering_as
from graphmem.memo import Memo
from graphmem.points import Point
from graphmem.record import Trace
from graphmem.trace import trace
from graphmem.trace.answers import Answers


@dataclass(frozen=True)
class Tracer:
    """Traces `subject` as `how` says; see `graphmem.symbolic.tracer` for what the derivation asks of it."""

    subject: Subject
    how: How
    most_operators: int | None = None
    _made: Memo[Trace] = field(default_factory=Memo)
    _answers: Answers = field(default_factory=Answers)

    def __call__(self, point: Point) -> Trace:
        return self._made.at(point, lambda: self._trace(dict(point)))

    def _trace(self, point: dict[str, int]) -> Trace:
        subject = self.subject
        point = subject.room.at(point)  # the sizes that the model really has there
        try:
            with subject.home.entered():  # once for all that is done here
                with answering_as(self.how.machine, building=True):
                    module = subject.build(point)
                return trace(
                    module,
                    subject.make_inputs(point, False),
                    self.how,
                    point=point,
                    loss=subject.loss,
                    reload=partial(inputs_with_values, subject.make_inputs, point),
                    most_operators=self.most_operators,
                    answers=self._answers,
                )
        except ModelError as error:
            error.hint = "\n".join(filter(None, (error.hint, subject.remedy)))
            raise

    def of(self, subject: Subject) -> Tracer:
        """The same for a changed subject; it does not know what this one has traced."""
        return replace(self, subject=subject, _made=Memo())

    def limited(self, most_operators: int) -> Tracer:
        """The same, but it gives up on a forward with more operators."""
        return replace(self, most_operators=most_operators)

    def afresh(self) -> Tracer:
        """The same, with nothing traced yet."""
        return replace(self, _made=Memo(), _answers=Answers())

    @property
    def finished(self) -> bool:
        """Whether the module exists already: it can be shortened, not built again."""
        return self.subject.finished

    def knows(self, point: Point) -> bool:
        """Whether that point was traced."""
        return point in self._made

    def parameter_bytes(self, point: Point) -> int:
        """Bytes of the model's parameters at `point`, each once."""
        dtype = self.how.dtype
        with answering_as(self.how.machine, building=True):
            parameters = self.subject.build(dict(point)).parameters()
        return sum(p.numel() * (dtype if dtype and p.is_floating_point() else p.dtype).itemsize for p in parameters)
