"""The same work for the fabric and its peers, on the same machine, in the same run, in turns. See `run`.

Reading order: clients (one small class per peer), servers, workers (the processes), works (what is measured), run,
report (RESULTS.md and its plots).
"""
