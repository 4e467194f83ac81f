"""Puts load on a gateway and judges it: the code that all scenarios share, and their runner.

In the order in which a run meets them: `scenarios` (the content of `make load`), `__main__` and `stage` (the runner;
gateway and Locust for each scenario), `users` (options, and users that invoke), `wire` (the client that may be slow),
`run` (the state of one run), `admin` (the client of the second listener), `judging`, `overlap`, `retry`, `streaming`
and `knee` (arithmetic), `outcome` (the result as JSON), `table` and `picture` (for people).
"""
