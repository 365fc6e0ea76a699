"""Samples of processes on HPC nodes, as Sonar takes them: what ran where, for whom, and what it used.

Nodes POST them (`sonar ps | curl --data-binary @- .../sonar-freecsv?cluster=NAME`). This replaces Jobanalyzer's infiltrate;
its file tree stays, so its tools still read it. Addresses, replies and the format: docs/sonar.md.

    gather      the listener               tokens      who may send for which cluster
    read        archive -> rows            free_csv    the format, and what is checked before anything is stored
    records     one line -> one sample     load        how busy a host was, and what it is made of
    rows        a sample as a row          tables      its tables in the store
    reasons     reason codes of refused posts   troubles    alarms: GPUs that failed
"""

from typing import Final

from lae_monitor.core.kind import Kind
from lae_monitor.kinds.sonar.reasons import REASONS

SONAR: Final = Kind(
    name="sonar",
    event="sonar",
    room=__name__,
    keep="1y",
    about="samples of HPC nodes",
    reports=r"sonar/(?P<cluster>[^/]+)/\d{4}/\d\d/\d\d/",
    routine=("debug", "info"),
    runs="runs of Sonar",
    regular="sends samples",
    troubles=f"{__name__}.troubles:troubles",
    tables=f"{__name__}.tables:TABLES",
    tokens=f"{__name__}.tokens:TOKENS",
    show=f"{__name__}.show:show",
    node=f"{__name__}.load:node",
    load=f"{__name__}.load:load",
    demo=f"{__name__}.demo:Samples",
    reasons=REASONS,
    mark="M1 8h3l2-5.5 3.5 11 2-5.5H15",
)
