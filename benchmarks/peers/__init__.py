"""The same work for the fabric and its peers, on the same machine, in the same run, in turns. See `run`.

Reading order: clients (one small class per peer), servers, workers and hands (the processes), fan, connections and
matching (what is measured), costs, run, then what is written: aims, summary, plots, report (RESULTS.md).
"""
