"""A beacon for people."""

from lae_monitor.core.shown import Section, Shown


def show(_span, data):
    time, level, port = data.decode().split()
    return Shown(sections=[Section(title="Signal", fields={"time": time, "level": level, "port": port})])
