"""Load against a gateway, judged: what the scenarios beside this folder share, and the runner of them all.

In the order in which a run meets them: `scenarios` (what `make load` runs), `__main__` and `stage` (the runner; gateway
and Locust for each scenario), `users` (options, and users that invoke), `wire` (the client that may be slow), `run`
(what is known of one run), `admin` (asking the second listener), `judging`, `overlap`, `retry`, `streaming` and
`knee` (arithmetic), `outcome` (how it ended, as JSON), `table` and `picture` (for people).
"""
