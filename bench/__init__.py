"""`python -m bench [PART...]`: figures of this product on this machine, beside what they aim at.

    figures      one figure: value, aim, verdict; the table and results.json
    monitor      the real processes on a state folder of their own
    load         HTTP clients
    floor        what the disk can do, without us

    archive      store() and append()              start        --help, and `run` until it is ready
    searchable   from acknowledged to found        memory       of every process under the demo's load
    sonar        posts of samples                  crashes      reports
    against      another commit or wheel by turns  walk         how many files of ours a report enters
    history      pages and searches, by events     growth       accepting and sweeps, by reports

Where a ratio decides, both of its figures are of the same run. Everything is written below .cache/bench, or LAE_BENCH_DIR.
"""
