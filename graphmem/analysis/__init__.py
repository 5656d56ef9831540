"""From a subject to a report, and from a report to other points: where tracing and arithmetic meet."""
