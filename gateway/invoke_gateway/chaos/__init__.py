"""`invoke-gateway prove`: does a gateway really hold its limits? Judged from outside, with nothing of the gateway's own
code: hostile clients on one side, a backend that counts what truly overlaps on the other, plain arithmetic between."""
