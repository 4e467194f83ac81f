"""One gateway in several processes: a supervisor that starts and replaces them, and workers that serve.

channel     what the supervisor asks a worker
worker      a worker's side: serve, answer, drain
supervisor  starts workers, replaces those that die, ends them
state       what a worker tells of itself, as documents; and their sums
group       the sums of all workers, kept up to date
admin  the admin listener of them all
"""
