"""Counts, prints, compares and writes: the command `counted`."""

from collections.abc import Callable

from loadtests.bench.counted import baseline, system_calls
from loadtests.bench.counted.baseline import Counted
from loadtests.bench.counted.driven import COUNTED_PATHS
from loadtests.bench.counted.instructions import Tracer, count_work
from loadtests.bench.paths import PATHS
from loadtests.bench.processes import Trouble


def count(path: str, tracer: Tracer | None = None, *, has_strace: bool = True) -> Counted:
    """Counts the work of a call of `path`. Signatures make no system call. Exchanges with a store make one more or
    less, by chance. So both are counted without them."""
    is_traced = has_strace and path in PATHS
    return Counted(count_work(path, tracer), system_calls.count_system_calls(path) if is_traced else None)


def run(print_line: Callable[[str], None], *, is_written: bool, functions: int) -> None:
    """Counts the work of a call, and compares it with the baseline or writes it. Raises `Trouble` above the baseline.

    functions: prints so many functions with the most instructions
    """
    obstacle = system_calls.find_obstacle()
    if obstacle is not None:
        print_line(f"System calls are not counted: {obstacle}.")
    counted = {}
    for path in COUNTED_PATHS:
        tracer = Tracer()
        counted[path] = count(path, tracer, has_strace=obstacle is None)
        print_line(_describe(path, counted[path]))
        for line in _list_functions(tracer, functions):
            print_line(line)
    if is_written:
        baseline.write(counted)
        return
    before = baseline.read()
    obstacle = baseline.find_obstacle(before)
    if obstacle is not None:
        raise Trouble(f"The counts cannot be compared: {obstacle}")
    excess = [line for path in COUNTED_PATHS for line in baseline.find_excess(before, path, counted[path])]
    if excess:
        raise Trouble("\n".join([*excess, baseline.CURE]))


def _describe(path: str, counted: Counted) -> str:
    work, calls = counted.work, counted.system_calls
    described = f"{path}: {work.instructions} instructions, {work.calls} functions"
    if calls is None:
        return described
    listed = ", ".join(f"{name} {number}" for name, number in sorted(calls.items()))
    return f"{described}, {calls.total()} system calls ({listed})"


def _list_functions(tracer: Tracer, most: int) -> list[str]:
    requests = len(tracer.works)
    return [
        f"{total / requests:8.1f} {code.co_qualname} ({code.co_filename}:{code.co_firstlineno})"
        for code, total in tracer.by_function.most_common(most)
    ]
