"""Shows progress and verdicts: on a terminal, as HTML, as JSON."""
