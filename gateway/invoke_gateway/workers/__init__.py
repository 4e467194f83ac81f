"""Runs one gateway in several processes: a supervisor that starts and replaces them, and workers that serve.

channel     remote calls from the supervisor to a worker
worker      the process of one worker: serve, handle calls, drain
handle      the workers, as their supervisor knows them
embedded_store  the stores of workers whose settings name none
embedded_server  one server of them, and its end with the supervisor
supervisor  starts workers, replaces dead ones, ends them
snapshots   a worker's state and totals as documents
aggregate   the sums of all workers, kept up to date
admin       the admin listener of all workers
"""
